"""Lottery: what survives a cut gets back the weights it began with, to be trained anew.

Frankle and Carbin 2019, "The Lottery Ticket Hypothesis" (section 1: train, prune, reset, repeat); Frankle et al. 2020,
"Linear Mode Connectivity and the Lottery Ticket Hypothesis", section 4: back to an early step instead of the first.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel, TrainerCallback

from optimizer import files
from optimizer.pruning.zeros import linear_weights
from optimizer.surgery import LayerPlan, SurgeryReport, keep, keep_hidden

__all__ = ["EARLY", "KeepEarly", "plan_of", "rewound", "with_weights"]

EARLY = 0.05  # of the first training's steps: Frankle et al. need 1 to 6 %


def plan_of(origin: SurgeryReport) -> list[LayerPlan | None]:
    """What the model before all cuts keeps of each layer, so as to have the shape after them."""
    plan: list[LayerPlan | None] = [None] * origin.before.depth
    for layer in origin.layers:
        plan[layer.layer] = LayerPlan(heads=layer.heads, ffn=layer.ffn)
    return plan


@torch.no_grad()
def rewound(model: PreTrainedModel, start: PreTrainedModel, origin: SurgeryReport) -> PreTrainedModel:
    """A copy of `start` with only what is left in `model`: its dimensions, layers, heads and neurons, its zeros;
    no other weight.

    Args:
        model: cut from a model of `start`'s shape.
        start: the weights to go back to.
        origin: what of `start` is left in `model`.
    """
    fresh = copy.deepcopy(start)
    if origin.dimensions is not None:
        keep_hidden(fresh, origin.dimensions)
    fresh, _ = keep(fresh, plan_of(origin))
    for weight, now in zip(linear_weights(fresh), linear_weights(model), strict=True):
        weight.masked_fill_(now == 0, 0.0)
    return fresh


def with_weights(model: PreTrainedModel, path: Path) -> PreTrainedModel:
    """A copy of a model with the weights that `KeepEarly` wrote."""
    fresh = copy.deepcopy(model)
    fresh.load_state_dict(load_file(path))
    return fresh


class KeepEarly(TrainerCallback):
    """Writes a model's weights once this share of the steps is done; a resumed training that is past it has them."""

    def __init__(self, model: PreTrainedModel, path: Path, share: float = EARLY) -> None:
        self.model, self.path, self.share = model, path, share

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Write them at the step, whole or not at all."""
        if state.global_step == max(1, round(self.share * state.max_steps)):
            weights = {name: tensor.detach().contiguous().clone() for name, tensor in self.model.state_dict().items()}
            files.write_atomically(self.path, lambda path: save_file(weights, path))
