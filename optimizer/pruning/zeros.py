"""Zeros in the linear layers: set where they change least, and kept while training by a callback."""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedModel, TrainerCallback

from hardware_profiles.runtimes.sparse.packing import BLOCK
from optimizer.encoders import EncoderLayer, walk
from optimizer.encoding import Encoded
from optimizer.inference import BATCH_SIZE, autocast, evaluating
from optimizer.pruning.masks import block_mask, magnitude_mask
from optimizer.pruning.patterns import Zeros
from optimizer.pruning.second_order import damped, remove
from optimizer.pruning.stream import enough_rows, inputs_of

__all__ = ["KeepZeros", "hessians", "linear_weights", "set_zeros"]

_SAME_INPUT = {"key": "query", "value": "query"}


def linear_weights(model: PreTrainedModel) -> list[torch.Tensor]:
    """The weights [outputs, inputs] of every linear layer inside the encoder's layers."""
    return [linear.weight for layer in walk(model).layers for linear in layer.linears().values()]


@torch.no_grad()
def set_zeros(model: PreTrainedModel, pattern: Zeros, calibration: Encoded | None = None) -> PreTrainedModel:
    """Zero the least important weights, or blocks of weights, of every linear layer, in place, to this share of each.

    With `calibration` rows, by second order: what is left of a layer makes up for what goes, and layers are cut first
    to last, each by what it then really reads. Without them the smallest go.
    """
    if calibration is None:
        mask = block_mask if pattern.word == "block" else magnitude_mask
        for weight in linear_weights(model):
            weight.masked_fill_(~mask(weight, pattern.sparsity), 0.0)
        return model
    group = BLOCK if pattern.word == "block" else 1
    rows = enough_rows(model, calibration)
    for layer in walk(model).layers:
        read = {name: damped(h) for name, h in hessians(model, layer, rows).items()}
        for name, linear in layer.linears().items():
            h = read[_SAME_INPUT.get(name, name)]
            linear.weight.copy_(remove(linear.weight, h, pattern.sparsity, group))
    return model


@torch.no_grad()
def hessians(model: PreTrainedModel, layer: EncoderLayer, rows: Encoded) -> dict[str, torch.Tensor]:
    """X^T X / tokens [inputs, inputs] of what each linear of a layer reads on `rows`; query's is key's and value's."""
    linears = {name: linear for name, linear in layer.linears().items() if name not in _SAME_INPUT}
    sizes = {name: linear.in_features for name, linear in linears.items()}
    device = next(model.parameters()).device
    products = {name: torch.zeros(size, size, device=device) for name, size in sizes.items()}
    tokens = 0
    with inputs_of(linears) as read, evaluating(model), autocast():
        for _, batch in rows.buckets(BATCH_SIZE):
            mask = batch["attention_mask"].to(device)
            model(batch["input_ids"].to(device), attention_mask=mask)
            real = mask.bool()
            tokens += int(real.sum())
            for name, x in read.items():
                products[name].addmm_(x[real].T, x[real])
    return {name: product / max(tokens, 1) for name, product in products.items()}


class KeepZeros(TrainerCallback):
    """After every optimizer step, zero again what was zero when training began."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.zeros = [(weight, weight.detach() == 0) for weight in linear_weights(model)]

    @torch.no_grad()
    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Put the zeros back."""
        for weight, zero in self.zeros:
            weight.masked_fill_(zero, 0.0)
