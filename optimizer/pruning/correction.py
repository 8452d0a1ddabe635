"""Correction: heads and neurons go, and the projections behind them make up for what goes. Frames, no formulas."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel

from optimizer.encoders import EncoderLayer, walk
from optimizer.encoding import Encoded
from optimizer.pruning.curves import BlockCurve, Probe, curve_rows, measured_curve
from optimizer.pruning.moments import Moments
from optimizer.pruning.removal import columns_of, refit, refit_bias, remove_columns, remove_groups
from optimizer.pruning.second_order import damped
from optimizer.pruning.stream import Reading, Stream, enough_rows
from optimizer.surgery import LayerPlan

__all__ = ["HEADS", "NEURONS", "behind", "correct", "fit", "measure_removals"]

HEADS, NEURONS = "attention_output", "down"  # the projections that follow them
Measured = tuple[np.ndarray, BlockCurve]


@torch.no_grad()
def measure_removals(
    model: PreTrainedModel, calibration: Encoded, advance: Callable[[float], None] = lambda share: None
) -> tuple[list[Measured], list[Measured]]:
    """Of the heads and of the neurons of each layer: when each goes, and the block's loss curve, corrected, alone.

    Args:
        calibration: training rows with the teacher's logits beside them.
        advance: told the share of the work done.
    """
    probe, stream = Probe(model, curve_rows(model, calibration)), Stream(model, enough_rows(model, calibration))
    base = probe.divergence()
    layers = walk(model).layers
    found: dict[str, list[Measured]] = {HEADS: [], NEURONS: []}
    for index, layer in enumerate(layers):
        linears = layer.linears()
        moments = {name: Moments(linears[name].in_features) for name in found if name in linears}
        for reading in stream.readings(layer, moments):
            for name, x in reading.inputs.items():
                moments[name].add(x)
        for name, measured in found.items():
            size = _size(layer, name)
            measured.append(_measured(linears.get(name), size, moments.get(name), probe, base))
        stream.advance(layer)
        probe.advance()
        advance((index + 1) / len(layers))
    return found[HEADS], found[NEURONS]


@torch.no_grad()
def correct(model: PreTrainedModel, plan: Sequence[LayerPlan | None], calibration: Encoded) -> PreTrainedModel:
    """Make the columns of all that `plan` removes zero, in place, and let those that stay make up for it.

    Layer by layer, first to last, the projections behind heads and neurons get the weights and bias whose outputs, on
    what they now read, bring the residual stream nearest to what it was in the whole model. So each also makes up for
    what the layers before it, and those removed altogether, have done to the stream. `surgery.keep` then changes
    nothing but the shape.

    Args:
        calibration: training rows; their labels do not matter.
    """
    rows = enough_rows(model, calibration)
    now, before = Stream(model, rows), Stream(model, rows)
    for layer, entry in zip(walk(model).layers, plan, strict=True):
        whole = replace(layer, module=copy.deepcopy(layer.module))
        if entry is not None:
            for name, units in ((HEADS, entry.heads), (NEURONS, entry.ffn)):
                if name in layer.linears():
                    columns = columns_of(units, _size(layer, name))
                    fit(getattr(layer, name), behind(name, layer, whole, now, before), columns)
            now.advance(layer)
        before.advance(whole)
    return model


def behind(
    name: str,
    layer: EncoderLayer,
    whole: EncoderLayer,
    now: Stream,
    before: Stream,
    dimensions: slice | torch.Tensor = slice(None),
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """What the projection behind heads or neurons reads now, and what would bring the stream to what it was in `whole`.

    Of each batch, [tokens, inputs] and [tokens, hidden]; `dimensions` are those of the whole stream that are left.
    """
    names = (name,) if name == HEADS else (name, "up")
    projection: nn.Linear = getattr(whole, name)
    for reading, was in zip(now.readings(layer, names), before.readings(whole, names), strict=True):
        stream = F.linear(was.inputs[name], projection.weight, projection.bias) + _residual(was, name)
        yield reading.inputs[name], stream[:, dimensions] - _residual(reading, name)


def fit(linear: nn.Linear, pairs: Iterable[tuple[torch.Tensor, torch.Tensor]], columns: torch.Tensor) -> None:
    """Give a linear the weights, zero outside `columns`, and bias that bring it from x nearest to t, in place."""
    moments = Moments(linear.in_features, linear.out_features)
    for x, t in pairs:
        moments.add(x, t)
    h = damped(moments.covariance)
    ridge = linear.weight @ (h - moments.covariance)  # the damping draws to the weights as they are, not to zero
    weight = refit(linear.weight, h, columns, moments.target_covariance + ridge)
    linear.weight.copy_(weight)
    linear.bias.copy_(refit_bias(moments.target_mean, weight, moments.mean))


def _size(layer: EncoderLayer, name: str) -> int:
    return layer.head_size if name == HEADS else 1


def _residual(reading: Reading, name: str) -> torch.Tensor:
    """What a projection's output is added to."""
    return reading.states if name == HEADS else reading.inputs["up"]


def _measured(
    linear: nn.Linear | None,
    size: int,
    moments: Moments | None,
    probe: Probe,
    base: float,
) -> Measured:
    if linear is None or moments is None:
        return np.zeros(0), BlockCurve(np.array([0.0]), np.array([0.0]))
    h = damped(moments.covariance)
    removal = remove_columns(linear.weight, h) if size == 1 else remove_groups(linear.weight, h, size)

    def loss_at(width: int) -> float:
        with _narrowed(linear, h, moments.mean, columns_of(removal.kept(width), size)):
            return probe.divergence() - base

    return removal.ranks(), measured_curve(len(removal.order), loss_at).following(removal.errors)


@contextmanager
def _narrowed(linear: nn.Linear, hessian: torch.Tensor, mean: torch.Tensor, columns: torch.Tensor) -> Iterator[None]:
    """A linear that reads only these columns, corrected; as it was afterwards."""
    weight, bias = linear.weight.clone(), linear.bias.clone()
    try:
        linear.weight.copy_(refit(weight, hessian, columns))
        linear.bias.copy_(refit_bias(bias + weight @ mean, linear.weight, mean))
        yield
    finally:
        linear.weight.copy_(weight)
        linear.bias.copy_(bias)
