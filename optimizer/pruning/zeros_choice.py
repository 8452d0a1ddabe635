"""Zeros choice: how many zeros a model needs to reach a latency, and in which layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from transformers import PreTrainedModel

from hardware_profiles.layer_zeros import LayerZeros, mean_sparsity
from hardware_profiles.unit import Pattern
from optimizer.architecture import Architecture
from optimizer.encoding import Encoded
from optimizer.pruning.parts import all_parts, by_layer
from optimizer.pruning.patterns import NOfM, Zeros, ZerosBy
from optimizer.pruning.zeros import global_layers, group_of
from optimizer.pruning.zeros_allocation import ZerosPrices, allocate_zeros
from optimizer.pruning.zeros_curves import measure_zeros

__all__ = ["ModelPrices", "fewest_zeros", "more_zeros"]


class ModelPrices(ZerosPrices, Protocol):
    """What is asked of prices besides."""

    def sparsity_range(self, pattern: Pattern) -> tuple[float, float]:
        """(fewest, most) zeros with which times are known."""
        ...

    def least_sparsity(self, architecture: Architecture, pattern: Pattern, target_ms: float) -> float | None:
        """The fewest zeros, alike in all layers, that reach a latency."""
        ...


def fewest_zeros(
    kind: type[Zeros],
    by: ZerosBy,
    model: PreTrainedModel,
    prices: ModelPrices,
    target_ms: float,
    calibration: Encoded,
    present: tuple[LayerZeros, ...] = (),
    advance: Callable[[float], None] = lambda share: None,
) -> Zeros | None:
    """The zeros of least harm with which a model is predicted to take at most `target_ms`; None where none suffice.

    Args:
        kind: single weights or blocks.
        present: each layer's share of zeros in the model, which stay.
    """
    architecture = Architecture.of(model)
    if by == "second-order":
        _, most = prices.sparsity_range(kind.word)
        curves = measure_zeros(model, calibration, most, group_of(kind(most)), advance)
        layers = allocate_zeros(curves, architecture, kind.word, prices, target_ms, present)
        return None if layers is None else kind(mean_sparsity(architecture, layers), by, layers)
    if by == "magnitude-global":
        return _by_one_threshold(kind, model, prices, target_ms)
    least = prices.least_sparsity(architecture, kind.word, target_ms)
    return None if least is None else kind(least, by)


def more_zeros(
    there: Zeros,
    model: PreTrainedModel,
    prices: ModelPrices,
    target_ms: float,
    calibration: Encoded,
    advance: Callable[[float], None] = lambda share: None,
) -> Zeros:
    """The zeros that a model needs for `target_ms` besides those that it has; the most there are where none suffice."""
    if isinstance(there, NOfM):  # there is one amount of them
        return there
    present = there.layers
    if there.sparsity and not present:
        present = (LayerZeros.even(there.sparsity),) * Architecture.of(model).depth
    found = fewest_zeros(type(there), there.by, model, prices, target_ms, calibration, present, advance)
    if found is None:
        found = type(there)(prices.sparsity_range(there.word)[1], there.by)
    return found if found.sparsity > there.sparsity else there


def _by_one_threshold(kind: type[Zeros], model: PreTrainedModel, prices: ModelPrices, target_ms: float) -> Zeros | None:
    architecture, low, high = Architecture.of(model), 0, 100
    best: Zeros | None = None
    while high - low > 1:  # per cent of all weights below the threshold
        middle = (low + high) // 2
        pattern = kind(middle / 100, "magnitude-global")
        layers = _that_pay(global_layers(model, middle / 100, pattern), model, kind, prices)
        if prices.predict(architecture, kind.word, layers).ms <= target_ms:
            best, high = kind(mean_sparsity(architecture, layers), "magnitude-global", layers), middle
        else:
            low = middle
    return best


def _that_pay(
    layers: tuple[LayerZeros, ...], model: PreTrainedModel, kind: type[Zeros], prices: ModelPrices
) -> tuple[LayerZeros, ...]:
    """The same, dense where zeros are too few to pay, and at most as many as times are known with."""
    found = {}
    for part in all_parts(model):
        share = layers[part.layer].of(part.kind)[part.side]
        least, most = prices.part_range(part.kind, part.side, kind.word)
        found[part.key] = min(share, most) if share >= least else 0.0
    return by_layer(len(layers), found)
