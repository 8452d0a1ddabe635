"""Zeros: an unstructured candidate's linear layers, and the callback that keeps their zeros while training."""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedModel, TrainerCallback

from optimizer.encoders import walk
from optimizer.pruning.masks import magnitude_mask

__all__ = ["KeepZeros", "linear_weights", "set_zeros"]


def linear_weights(model: PreTrainedModel) -> list[torch.Tensor]:
    """The weights [outputs, inputs] of every linear layer inside the encoder's layers."""
    return [linear.weight for layer in walk(model).layers for linear in layer.linears().values()]


@torch.no_grad()
def set_zeros(model: PreTrainedModel, sparsity: float) -> PreTrainedModel:
    """Zero the smallest weights of every linear layer, in place, to this share of each."""
    for weight in linear_weights(model):
        weight.mul_(magnitude_mask(weight, sparsity))
    return model


class KeepZeros(TrainerCallback):
    """After every optimizer step, zero again what was zero when training began."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.masks = [(weight, weight.detach() != 0) for weight in linear_weights(model)]

    @torch.no_grad()
    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Put the zeros back."""
        for weight, mask in self.masks:
            weight.mul_(mask)
