"""ZerosCurves: what a model loses when one part of one layer has zeros, measured on calibration rows. A frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedModel

from hardware_profiles.unit import Kind
from optimizer.encoders import walk
from optimizer.encoding import Encoded
from optimizer.pruning.curves import Probe, curve_rows
from optimizer.pruning.parts import Part, all_parts, parts_of
from optimizer.pruning.second_order import damped, output_error, removals
from optimizer.pruning.stream import Stream, enough_rows
from optimizer.pruning.zeros import hessians, input_of

__all__ = ["LossCurve", "PartKey", "loss_curve", "measure_zeros"]

SHARES = (0.3, 0.5, 0.65, 0.75, 0.85, 0.9, 0.95)  # at which the error of a part's outputs is computed
MEASURED = 0.75  # the first of them at which the divergence is measured; the other is the last

PartKey = tuple[int, Kind, int]
"""Layer, block, side: as `Part`."""


@dataclass(frozen=True)
class LossCurve:
    """Loss increase (nats a row) of a model at rising shares of zeros in one part of it, from none on."""

    sparsities: np.ndarray
    losses: np.ndarray

    def loss(self, sparsity: float) -> float:
        """The increase at a share of zeros, linear between known ones."""
        return float(np.interp(sparsity, self.sparsities, self.losses))


def loss_curve(sparsities: Sequence[float], errors: Sequence[float], measured: Mapping[int, float]) -> LossCurve:
    """The curve at every share: between measured losses it rises evenly with the error of the part's own outputs.

    Args:
        sparsities: rising shares of zeros [n] above 0.
        errors: of the part's outputs there [n], in any unit.
        measured: loss increases (nats a row) by place among `sparsities`, the last among them.
    """
    rising = np.maximum.accumulate([0.0, *errors])
    places = sorted(measured)
    losses = np.maximum.accumulate([0.0, *(measured[place] for place in places)])
    known = rising[[0, *(place + 1 for place in places)]]
    return LossCurve(np.array([0.0, *sparsities]), np.interp(rising, known, losses))


def measure_zeros(
    model: PreTrainedModel,
    calibration: Encoded,
    most: float,
    group: int = 1,
    advance: Callable[[float], None] = lambda share: None,
) -> dict[PartKey, LossCurve]:
    """The loss curve of every part that is left, each cut alone by second order while the others stay as they are.

    What SPDY (Frantar and Alistarh 2022, section 3) finds by search, how much the model minds a layer's error, is
    measured: the divergence at two shares of zeros.

    Args:
        calibration: training rows with the teacher's logits beside them.
        most: the highest share of zeros that is asked about.
        group: inputs that go together, 4 for blocks.
        advance: told the share of the work done.
    """
    shares = [*(share for share in SHARES if share < most), most]
    wanted = {min(len(shares) - 1, sum(share < MEASURED for share in shares)), len(shares) - 1}
    stream, probe = Stream(model, enough_rows(model, calibration)), Probe(model, curve_rows(model, calibration))
    base, total = probe.divergence(), len(all_parts(model))
    curves: dict[PartKey, LossCurve] = {}
    for index, layer in enumerate(walk(model).layers):
        read = {name: damped(h) for name, h in hessians(stream, layer).items()}
        for part in parts_of(layer, index):
            errors, losses = [], {}
            for place, error in enumerate(_cut_on(part, read, shares, group)):
                errors.append(error)
                if place in wanted:
                    losses[place] = max(0.0, probe.divergence() - base)
            curves[part.key] = loss_curve(shares, errors, losses)
            advance(len(curves) / total)
        stream.advance(layer)
        probe.advance()
    return curves


@torch.no_grad()
def _cut_on(part: Part, read: Mapping[str, torch.Tensor], shares: Sequence[float], group: int) -> Iterator[float]:
    """Cut a part to each share in turn, in place, and give the error of its outputs; at last it is as it was."""
    before = {name: linear.weight.clone() for name, linear in part.linears.items()}
    hessian = {name: read[input_of(name)] for name in before}
    paths = {name: removals(weight, hessian[name], shares, group) for name, weight in before.items()}
    try:
        for _ in shares:
            error = 0.0
            for name, linear in part.linears.items():
                linear.weight.copy_(next(paths[name]))
                error += output_error(before[name], linear.weight, hessian[name])
            yield error
    finally:
        for name, linear in part.linears.items():
            linear.weight.copy_(before[name])
