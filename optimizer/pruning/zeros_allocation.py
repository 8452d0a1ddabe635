"""Zeros allocation: how many zeros each part of each layer gets so that a whole model reaches a latency.

Every part of a layer has a loss and a price in milliseconds at every share of zeros, both measured; `allocate` finds
the shares with the least total loss that fit, as in SPDY: Frantar and Alistarh 2022, "SPDY: Accurate Pruning with
Speedup Guarantees", section 3.1. Prices do not quite add up to what a whole model takes: its prediction decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from hardware_profiles.layer_zeros import LayerZeros, Sparsity
from hardware_profiles.prediction import Prediction
from hardware_profiles.unit import Kind, Pattern
from optimizer.architecture import Architecture
from optimizer.pruning.allocation import allocate
from optimizer.pruning.parts import by_layer
from optimizer.pruning.zeros_curves import LossCurve, PartKey

__all__ = ["ShareOption", "ZerosPrices", "allocate_zeros", "shares_between"]

STEP = 0.9  # of the weights that are left stay from one share to the next, as in SPDY, section 4
BISECTIONS = 16
_WITHIN = 1 + 1e-9


class ZerosPrices(Protocol):
    """What zeros make of milliseconds at one workload and precision; the latency model answers."""

    def predict(self, architecture: Architecture, pattern: Pattern, sparsity: Sparsity) -> Prediction:
        """The whole model."""
        ...

    def part_ms(self, kind: Kind, side: int, width: int, pattern: Pattern, sparsity: float) -> float:
        """One part of a block of this width."""
        ...

    def part_range(self, kind: Kind, side: int, pattern: Pattern) -> tuple[float, float]:
        """(fewest zeros with which a part is faster than dense, most that were measured)."""
        ...


@dataclass(frozen=True)
class ShareOption:
    """One share of zeros for one part: its milliseconds, and the estimated loss increase in nats."""

    sparsity: float
    ms: float
    loss: float

    @property
    def size(self) -> float:
        """The more weights the larger."""
        return -self.sparsity


def shares_between(least: float, most: float) -> list[float]:
    """Rising shares of zeros, each with a tenth fewer weights than the one before, ending with `most`."""
    found, left = [], 1 - most
    while 1 - left >= least and left <= 1:
        found.append(round(1 - left, 4))
        left /= STEP
    return found[::-1]


def allocate_zeros(
    curves: Mapping[PartKey, LossCurve],
    architecture: Architecture,
    pattern: Pattern,
    prices: ZerosPrices,
    target_ms: float,
    present: tuple[LayerZeros, ...] = (),
) -> tuple[LayerZeros, ...] | None:
    """Shares of zeros with which the model is predicted to take at most `target_ms`, of the least total loss.

    A part whose zeros would not pay stays dense. None where even the most zeros are too few.

    Args:
        curves: loss by part, of every part that is left.
        pattern: which zeros, as prices know them.
        present: zeros that are there already and stay.
    """
    keys = list(curves)
    options = [_options(key, curves[key], architecture, pattern, prices, present) for key in keys]

    def layers(chosen: list[ShareOption]) -> tuple[LayerZeros, ...]:
        shares = {key: option.sparsity for key, option in zip(keys, chosen, strict=True)}
        return by_layer(architecture.depth, shares)

    def fits(found: tuple[LayerZeros, ...]) -> bool:
        return prices.predict(architecture, pattern, found).ms <= target_ms * _WITHIN

    gentlest = layers([min(each, key=lambda o: (o.loss, o.sparsity)) for each in options])
    if fits(gentlest):
        return gentlest
    best = layers([min(each, key=lambda o: (o.ms, o.loss)) for each in options])
    if not fits(best):
        return None
    low, high = (sum(pick(o.ms for o in each) for each in options) for pick in (min, max))
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        chosen = allocate(options, middle)
        if chosen is None or fits(found := layers(chosen)):
            low = middle
            best = found if chosen is not None else best
        else:
            high = middle
    return best


def _options(
    key: PartKey,
    curve: LossCurve,
    architecture: Architecture,
    pattern: Pattern,
    prices: ZerosPrices,
    present: tuple[LayerZeros, ...],
) -> list[ShareOption]:
    layer, kind, side = key
    shape = architecture.layers[layer]
    width = shape.heads if kind == "attention" else shape.ffn
    least, most = prices.part_range(kind, side, pattern)
    there = present[layer].of(kind)[side] if present else 0.0
    shares = [there, *(share for share in shares_between(least, most) if share > there)]
    return [ShareOption(s, prices.part_ms(kind, side, width, pattern, s), curve.loss(s)) for s in shares]
