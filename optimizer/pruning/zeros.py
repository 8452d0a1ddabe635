"""Zeros in the linear layers: set by magnitude, and kept while training by a callback."""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedModel, TrainerCallback

from optimizer.encoders import walk
from optimizer.pruning.masks import block_mask, magnitude_mask
from optimizer.pruning.patterns import Zeros

__all__ = ["KeepZeros", "linear_weights", "set_zeros"]


def linear_weights(model: PreTrainedModel) -> list[torch.Tensor]:
    """The weights [outputs, inputs] of every linear layer inside the encoder's layers."""
    return [linear.weight for layer in walk(model).layers for linear in layer.linears().values()]


@torch.no_grad()
def set_zeros(model: PreTrainedModel, pattern: Zeros) -> PreTrainedModel:
    """Zero the smallest weights, or blocks of weights, of every linear layer, in place, to this share of each."""
    mask = block_mask if pattern.word == "block" else magnitude_mask
    for weight in linear_weights(model):
        weight.masked_fill_(~mask(weight, pattern.sparsity), 0.0)
    return model


class KeepZeros(TrainerCallback):
    """After every optimizer step, zero again what was zero when training began."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.zeros = [(weight, weight.detach() == 0) for weight in linear_weights(model)]

    @torch.no_grad()
    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Put the zeros back."""
        for weight, zero in self.zeros:
            weight.masked_fill_(zero, 0.0)
