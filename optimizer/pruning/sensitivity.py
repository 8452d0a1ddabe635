"""Sensitivity: what each head, neuron, block and layer of a model is worth on calibration rows. Frames, no formulas."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from transformers import PreTrainedModel

from optimizer.encoders import walk
from optimizer.encoding import Encoded
from optimizer.gates import gated, skipping
from optimizer.inference import autocast, predict
from optimizer.pruning.importance import draw_labels, fisher
from optimizer.surgery import LayerPlan

__all__ = [
    "BlockCurve",
    "Sensitivity",
    "curve_rows",
    "divergence",
    "loss_of_plan",
    "measure_sensitivity",
    "order_of_layers",
]

CURVE_SHARES = (0.0, 0.33, 0.66)  # of a block's units kept, where its curve is measured; 1 costs nothing
CURVE_ROWS = 256  # of the calibration rows, on which divergences of a 6-layer model are measured
LEAST_CURVE_ROWS = 64  # of a deeper one, which has more blocks that each take longer
GRADIENT_BATCH = 32


@dataclass(frozen=True)
class BlockCurve:
    """Measured loss increase (nats a row) of one block when only its `widths` most important units are kept, alone."""

    widths: np.ndarray
    losses: np.ndarray

    def loss(self, width: int) -> float:
        """The increase at `width` units, linear between measured widths."""
        return float(np.interp(width, self.widths, self.losses))


@dataclass(frozen=True)
class Sensitivity:
    """Importance of every unit and the loss curve of every block, by layer."""

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
    model: PreTrainedModel, calibration: Encoded, advance: Callable[[float], None] = lambda share: None
) -> Sensitivity:
    """Fisher importance of every gate, then each block's loss curve with its least important units closed.

    Summed unit importances are right for small cuts only; the curves, measured with the units really switched off,
    are what the allocation weighs against milliseconds.

    Args:
        calibration: training rows with the teacher's logits beside them.
        advance: told the share of the work done.
    """
    heads, ffn = _unit_importance(model, calibration, lambda share: advance(0.4 * share))
    rows = curve_rows(model, calibration)
    with gated(model) as gates:
        base = divergence(model, rows)
        curves: list[BlockCurve] = []
        blocks = [*zip(gates.heads, heads, strict=True), *zip(gates.ffn, ffn, strict=True)]
        for number, (gate, importance) in enumerate(blocks):
            curves.append(_curve(model, rows, gate, importance, base))
            advance(0.4 + 0.6 * (number + 1) / len(blocks))
    return Sensitivity(heads, ffn, tuple(curves[: len(heads)]), tuple(curves[len(heads) :]))


def loss_of_plan(model: PreTrainedModel, calibration: Encoded, plan: Sequence[LayerPlan | None]) -> float:
    """Measured loss increase (nats a row) of a whole plan, before any recovery."""
    rows = curve_rows(model, calibration)
    base = divergence(model, rows)
    removed = [layer for layer, entry in enumerate(plan) if entry is None]
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


def curve_rows(model: PreTrainedModel, calibration: Encoded) -> Encoded:
    """The calibration rows on which divergences are measured: the same ones every time, fewer for deep models."""
    depth = len(walk(model).layers)
    return calibration.sample(max(LEAST_CURVE_ROWS, CURVE_ROWS * 6 // max(6, depth)), seed=1)


def _unit_importance(
    model: PreTrainedModel, calibration: Encoded, advance: Callable[[float], None]
) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """The true Fisher of every gate: labels are drawn from the teacher's answers."""
    assert calibration.teacher_logits is not None
    model.eval()
    rows = replace(calibration, labels=draw_labels(calibration.teacher_logits, seed=0))
    totals: list[np.ndarray] = []
    parameters = [p for p in model.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)  # only the gates' gradients are wanted
    try:
        for index, batch in rows.buckets(GRADIENT_BATCH):
            scores = [len(index) * fisher(gradient) for gradient in _gate_gradients(model, batch)]
            totals = [a + b for a, b in zip(totals, scores, strict=True)] if totals else scores
            advance(min(1.0, batch["input_ids"].shape[1] / int(rows.lengths.max())))
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
    means = [total / len(rows) for total in totals]
    depth = len(means) // 2
    return tuple(means[:depth]), tuple(means[depth:])


def _gate_gradients(model: PreTrainedModel, batch: dict[str, torch.Tensor]) -> list[np.ndarray]:
    """dL/dm of each row [rows, units] for every block, L the row's cross-entropy; zeros for a removed block."""
    device = next(model.parameters()).device
    batch = {name: value.to(device) for name, value in batch.items()}
    with gated(model, rows=len(batch["labels"])) as gates:
        with autocast():
            logits = model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        heads, ffn = gates.gradients(F.cross_entropy(logits.float(), batch["labels"], reduction="sum"))
    return [gradient.float().cpu().numpy() for gradient in (*heads, *ffn)]


def _curve(
    model: PreTrainedModel, rows: Encoded, gate: torch.Tensor, importance: np.ndarray, base: float
) -> BlockCurve:
    units = len(importance)
    if units == 0:
        return BlockCurve(np.array([0.0]), np.array([0.0]))
    widths, losses = [units], [0.0]
    for share in reversed(CURVE_SHARES):
        width = round(share * units)
        if width >= widths[-1]:
            continue
        kept = _top(importance, width)
        _open_only(gate, kept)
        removed = float(importance.sum() - importance[list(kept)].sum())
        # fewer units never help, and what noise hides the importances still tell
        losses.append(max(losses[-1], removed, divergence(model, rows) - base))
        widths.append(width)
    _open_only(gate, range(units))
    return BlockCurve(np.array(widths[::-1], dtype=float), np.array(losses[::-1]))


def divergence(model: PreTrainedModel, rows: Encoded) -> float:
    """KL(teacher || model) in nats a row."""
    assert rows.teacher_logits is not None
    student = torch.from_numpy(predict(model, rows, exact=False))
    teacher = torch.from_numpy(rows.teacher_logits)
    return float(
        F.kl_div(F.log_softmax(student, -1), F.log_softmax(teacher, -1), reduction="batchmean", log_target=True)
    )


@torch.no_grad()
def _open_only(gate: torch.Tensor, units: Sequence[int]) -> None:
    gate.zero_()
    gate[list(units)] = 1.0


def _top(importance: np.ndarray, count: int) -> tuple[int, ...]:
    return tuple(int(i) for i in np.sort(np.argsort(-importance, kind="stable")[:count]))
