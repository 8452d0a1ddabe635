"""Zeros in the linear layers: set where they change least, and kept while training by a callback."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers import PreTrainedModel, TrainerCallback

from optimizer.encoders import walk
from optimizer.encoding import Encoded
from optimizer.inference import BATCH_SIZE
from optimizer.pruning.masks import block_mask, magnitude_mask
from optimizer.pruning.patterns import Zeros

__all__ = ["KeepZeros", "input_sizes", "linear_weights", "set_zeros"]


def linear_weights(model: PreTrainedModel) -> list[torch.Tensor]:
    """The weights [outputs, inputs] of every linear layer inside the encoder's layers."""
    return [linear.weight for layer in walk(model).layers for linear in layer.linears().values()]


@torch.no_grad()
def set_zeros(model: PreTrainedModel, pattern: Zeros, rows: Encoded | None = None) -> PreTrainedModel:
    """Zero the least important weights, or blocks of weights, of every linear layer, in place, to this share of each.

    A weight is as important as what it adds to its output is large on `rows`: |w_ij| ||x_j||, Sun et al. 2023, "A
    Simple and Effective Pruning Approach for Large Language Models", section 3; a block as the root of the sum of its
    squares. Without rows every input counts alike.
    """
    mask = block_mask if pattern.word == "block" else magnitude_mask
    weights = linear_weights(model)
    sizes = input_sizes(model, rows) if rows is not None else [torch.ones(1)] * len(weights)
    for weight, size in zip(weights, sizes, strict=True):
        weight.masked_fill_(~mask(weight * size, pattern.sparsity), 0.0)
    return model


@torch.no_grad()
def input_sizes(model: PreTrainedModel, rows: Encoded) -> list[torch.Tensor]:
    """Root mean square [inputs] of what each linear layer reads on `rows`, in `linear_weights`' order."""
    linears = [linear for layer in walk(model).layers for linear in layer.linears().values()]
    squares = [torch.zeros(linear.in_features) for linear in linears]
    batch_mask = torch.ones(0)

    def add(place: int) -> Callable[[torch.nn.Module, tuple[torch.Tensor, ...]], None]:
        def hook(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            squares[place] += inputs[0][batch_mask].float().square().sum(dim=0)

        return hook

    hooks = [linear.register_forward_pre_hook(add(place)) for place, linear in enumerate(linears)]
    was_training, tokens = model.training, 0
    model.eval()
    for _, batch in rows.buckets(BATCH_SIZE):
        batch_mask = batch["attention_mask"].bool()
        tokens += int(batch_mask.sum())
        model(batch["input_ids"], attention_mask=batch["attention_mask"])
    model.train(was_training)
    for handle in hooks:
        handle.remove()
    return [(total / max(tokens, 1)).sqrt() for total in squares]


class KeepZeros(TrainerCallback):
    """After every optimizer step, zero again what was zero when training began."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.zeros = [(weight, weight.detach() == 0) for weight in linear_weights(model)]

    @torch.no_grad()
    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Put the zeros back."""
        for weight, zero in self.zeros:
            weight.masked_fill_(zero, 0.0)
