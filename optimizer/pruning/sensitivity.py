"""Sensitivity: what each head, neuron, block and layer of a model is worth on calibration rows. Frames, no formulas."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedModel

from optimizer.encoders import walk
from optimizer.encoding import Encoded
from optimizer.gates import gated, skipping
from optimizer.pruning.correction import correct, measure_removals
from optimizer.pruning.curves import BlockCurve, curve_rows, divergence, measured_curve
from optimizer.pruning.importance import DEFAULT_IMPORTANCE, Importance
from optimizer.pruning.unit_importance import unit_importance
from optimizer.surgery import LayerPlan

__all__ = ["Sensitivity", "loss_of_plan", "measure_sensitivity", "order_of_layers"]


@dataclass(frozen=True)
class Sensitivity:
    """Importance of every unit, to be compared within a block, and the loss curve of every block, by layer."""

    head_importance: tuple[np.ndarray, ...]
    ffn_importance: tuple[np.ndarray, ...]
    head_curves: tuple[BlockCurve, ...]
    ffn_curves: tuple[BlockCurve, ...]

    def best_heads(self, layer: int, count: int) -> tuple[int, ...]:
        """Indices of the `count` most important heads of a layer, rising."""
        return _top(self.head_importance[layer], count)

    def best_neurons(self, layer: int, count: int) -> tuple[int, ...]:
        """Indices of the `count` most important FFN neurons of a layer, rising."""
        return _top(self.ffn_importance[layer], count)


def measure_sensitivity(
    model: PreTrainedModel,
    calibration: Encoded,
    importance: Importance = DEFAULT_IMPORTANCE,
    advance: Callable[[float], None] = lambda share: None,
) -> Sensitivity:
    """Importance of every unit, then each block's loss curve without its least important ones, alone.

    Summed unit importances are right for small cuts only; the curves, measured with the units really gone (and, by
    second order, the others corrected), are what the allocation weighs against milliseconds.

    Args:
        calibration: training rows with the teacher's logits beside them.
        advance: told the share of the work done.
    """
    if importance == "second-order":
        removals = measure_removals(model, calibration, advance)
        (heads, head_curves), (ffn, ffn_curves) = (zip(*blocks, strict=True) for blocks in removals)
        return Sensitivity(heads, ffn, head_curves, ffn_curves)
    heads, ffn = unit_importance(model, calibration, importance, lambda share: advance(0.4 * share))
    in_nats = importance == "fisher"
    rows = curve_rows(model, calibration)
    with gated(model) as gates:
        base = divergence(model, rows)
        curves: list[BlockCurve] = []
        blocks = [*zip(gates.heads, heads, strict=True), *zip(gates.ffn, ffn, strict=True)]
        for number, (gate, scores) in enumerate(blocks):
            curves.append(_gated_curve(model, rows, gate, scores, base, in_nats))
            advance(0.4 + 0.6 * (number + 1) / len(blocks))
    return Sensitivity(heads, ffn, tuple(curves[: len(heads)]), tuple(curves[len(heads) :]))


def loss_of_plan(
    model: PreTrainedModel, calibration: Encoded, plan: Sequence[LayerPlan | None], *, corrected: bool = False
) -> float:
    """Measured loss increase (nats a row) of a whole plan, before any recovery; `corrected` by least squares or not."""
    rows = curve_rows(model, calibration)
    base = divergence(model, rows)
    removed = [layer for layer, entry in enumerate(plan) if entry is None]
    if corrected:
        trial = correct(copy.deepcopy(model), plan, calibration)
        with skipping(trial, removed):
            return max(0.0, divergence(trial, rows) - base)
    with gated(model) as gates:
        gates.set(plan)
        with skipping(model, removed):
            return max(0.0, divergence(model, rows) - base)


def order_of_layers(model: PreTrainedModel, calibration: Encoded) -> list[int]:
    """Layer indices in the order to drop them: each time the one whose absence costs least, given those gone."""
    rows = curve_rows(model, calibration)
    gone: list[int] = []
    left = list(range(len(walk(model).layers)))
    while len(left) > 1:
        costs = []
        for layer in left:
            with skipping(model, [*gone, layer]):
                costs.append(divergence(model, rows))
        gone.append(left.pop(int(np.argmin(costs))))
    return gone + left


def _gated_curve(
    model: PreTrainedModel, rows: Encoded, gate: torch.Tensor, scores: np.ndarray, base: float, in_nats: bool
) -> BlockCurve:
    """Of a block whose units of least score are closed. What noise hides, scores in nats still tell."""

    def loss_at(width: int) -> float:
        kept = _top(scores, width)
        _open_only(gate, kept)
        told = float(scores.sum() - scores[list(kept)].sum()) if in_nats else 0.0
        return max(told, divergence(model, rows) - base)

    curve = measured_curve(len(scores), loss_at)
    _open_only(gate, range(len(scores)))
    return curve


@torch.no_grad()
def _open_only(gate: torch.Tensor, units: Sequence[int]) -> None:
    gate.zero_()
    gate[list(units)] = 1.0


def _top(importance: np.ndarray, count: int) -> tuple[int, ...]:
    return tuple(int(i) for i in np.sort(np.argsort(-importance, kind="stable")[:count]))
