"""Patterns: the ways a model can be made smaller, each a frozen config class and a function that proposes the next cut.

To add one, write its config class and register a function with `propose.register`; `decision` and `compression`
know patterns only through this function.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import singledispatch
from typing import Any, ClassVar, Literal, Protocol, get_args

from benchmarks.errors import TrimfitError
from hardware_profiles.layer_zeros import LayerZeros, Sparsity
from hardware_profiles.unit import Kind, Pattern
from optimizer.architecture import Architecture
from optimizer.pruning.allocation import Option, allocate
from optimizer.pruning.importance import DEFAULT_IMPORTANCE, Importance
from optimizer.pruning.sensitivity import Sensitivity
from optimizer.surgery import LayerPlan

__all__ = [
    "DEFAULT_ZEROS_BY",
    "ZEROS_BY",
    "Block",
    "Dense",
    "Depth",
    "Given",
    "Hidden",
    "NOfM",
    "Plan",
    "Prices",
    "Uniform",
    "Unstructured",
    "View",
    "Width",
    "Zeros",
    "ZerosBy",
    "n_of_m_named",
    "propose",
]

Plan = list["LayerPlan | None"]

ZerosBy = Literal["second-order", "second-order-even", "magnitude", "magnitude-global", "movement"]
"""By what weights become zero, and how many in each layer.

"second-order": where outputs change least, the others making up for it, and in each layer as many as its milliseconds
and its error say; "second-order-even": the same share in every layer. "magnitude": the smallest, the same share in
every layer; "magnitude-global": the smallest of all together. "movement": those that training drives towards zero.
"""
ZEROS_BY: tuple[ZerosBy, ...] = get_args(ZerosBy)
DEFAULT_ZEROS_BY: ZerosBy = "second-order-even"  # choosing each layer's share takes minutes, its worth is not shown


class Prices(Protocol):
    """Milliseconds of the pieces at one workload and precision; the latency model answers."""

    def room_ms(self, target_ms: float) -> float:
        """What the layers may add up to so that the whole model is predicted to take `target_ms`."""
        ...

    def widths(self, kind: Kind) -> tuple[int, ...]:
        """Measured widths of "attention" (heads) or "ffn" (neurons), 0 included."""
        ...

    def layer_ms(self, heads: int, ffn: int) -> float:
        """One layer; 0 and 0 is a layer that is gone and costs nothing."""
        ...


@dataclass(frozen=True)
class View:
    """What a pattern sees of the model it is to cut; `Width` needs the sensitivity, `Depth` the order of layers."""

    architecture: Architecture
    sensitivity: Sensitivity | None = None
    layer_order: tuple[int, ...] = ()  # the layer to drop first first


@dataclass(frozen=True)
class Dense:
    """Nothing is cut: lower precision alone."""


@dataclass(frozen=True)
class Width:
    """Structured: heads and FFN neurons go by `importance`, each layer its own; a layer that loses both is gone.

    `corrected`: what stays makes up for what goes, by least squares, before any training.
    """

    importance: Importance = DEFAULT_IMPORTANCE
    corrected: bool = True


@dataclass(frozen=True)
class Uniform(Width):
    """Structured: every layer keeps the same share of its heads and neurons; what `Width` has to be better than."""


@dataclass(frozen=True)
class Hidden(Width):
    """Structured: all but `size` dimensions of the hidden states go, everywhere; then heads and neurons, as by `Width`.

    `propose` sees the model that has lost them already, and the prices at that size.
    """

    size: int = 0


@dataclass(frozen=True)
class Depth:
    """Structured: whole layers, the others untouched (a shallower student)."""


@dataclass(frozen=True)
class Given:
    """Nothing is cut: a smaller checkpoint that the person gave, with weights of its own, is distilled as it is."""


@dataclass(frozen=True)
class Zeros:
    """A share of the linear layers' weights becomes zero; nothing is removed.

    `sparsity` is the share in all of them together, which every layer has alike unless `layers` tells each one's.
    """

    sparsity: float
    by: ZerosBy = DEFAULT_ZEROS_BY
    layers: tuple[LayerZeros, ...] = ()
    word: ClassVar[Pattern]

    @property
    def shares(self) -> Sparsity:
        """What latency depends on: one share, or every layer's own."""
        return self.layers or self.sparsity

    def times(self, factor: float) -> Zeros:
        """The same with a part of the zeros."""
        layers = tuple(layer.times(factor) for layer in self.layers)
        return replace(self, sparsity=self.sparsity * factor, layers=layers)


@dataclass(frozen=True)
class Unstructured(Zeros):
    """Single weights become zero."""

    word: ClassVar[Pattern] = "unstructured"


@dataclass(frozen=True)
class Block(Zeros):
    """Weights become zero in blocks of 4 consecutive inputs of one output, as int8 kernels multiply them."""

    word: ClassVar[Pattern] = "block"


@dataclass(frozen=True)
class NOfM(Zeros):
    """Of every m consecutive inputs of an output n stay, 2 of 4 where a GPU has kernels for that.

    Raises TrimfitError where n is not below m.
    """

    sparsity: float = field(init=False)
    n: int = 2
    m: int = 4
    word: ClassVar[Pattern] = "n:m"

    def __post_init__(self) -> None:
        if not 0 < self.n < self.m:
            raise TrimfitError(f"got {self.n}:{self.m}, expected n:m with n below m, e.g. 2:4: name fewer to keep")
        object.__setattr__(self, "sparsity", 1 - self.n / self.m)

    def times(self, factor: float) -> NOfM:
        """The same with fewer zeros in every group, at least one."""
        return replace(self, n=self.m - max(1, round(factor * (self.m - self.n))))


def n_of_m_named(name: str) -> tuple[int, int] | None:
    """(n, m) of a name such as "2:4"; None for other names."""
    found = re.fullmatch(r"(\d+):(\d+)", name)
    return (int(found[1]), int(found[2])) if found else None


@singledispatch
def propose(pattern: Any, view: View, prices: Prices, target_ms: float) -> Plan | None:
    """What each layer keeps so that the model is predicted to take at most `target_ms`; None where it cannot."""
    raise TypeError(f"{type(pattern).__name__} is not a pattern: register a function for it")


@propose.register
def _(pattern: Dense, view: View, prices: Prices, target_ms: float) -> Plan | None:
    return _everything(view.architecture)


@propose.register
def _(pattern: Given, view: View, prices: Prices, target_ms: float) -> Plan | None:
    return None  # there is nothing of the teacher in it


@propose.register
def _(pattern: Zeros, view: View, prices: Prices, target_ms: float) -> Plan | None:
    return _everything(view.architecture)


@propose.register
def _(pattern: Depth, view: View, prices: Prices, target_ms: float) -> Plan | None:
    plan = _everything(view.architecture)
    costs = [prices.layer_ms(layer.heads, layer.ffn) for layer in view.architecture.layers]
    room = prices.room_ms(target_ms)
    for layer in view.layer_order[:-1]:
        if sum(costs) <= room:
            break
        plan[layer], costs[layer] = None, 0.0
    return plan if sum(costs) <= room else None


@propose.register
def _(pattern: Width, view: View, prices: Prices, target_ms: float) -> Plan | None:
    assert view.sensitivity is not None, "widths are chosen by sensitivity"
    options = [
        _layer_options(view.sensitivity, index, layer.heads, layer.ffn, prices)
        for index, layer in enumerate(view.architecture.layers)
    ]
    chosen = allocate(options, prices.room_ms(target_ms))
    if chosen is None or not any(option.heads or option.ffn for option in chosen):
        return None
    return [_keep_best(view.sensitivity, layer, option) for layer, option in enumerate(chosen)]


@propose.register
def _(pattern: Uniform, view: View, prices: Prices, target_ms: float) -> Plan | None:
    assert view.sensitivity is not None, "units go by sensitivity"
    room = prices.room_ms(target_ms)
    for percent in range(100, 0, -1):
        widths = [
            (
                _share(percent, layer.heads, prices.widths("attention")),
                _share(percent, layer.ffn, prices.widths("ffn")),
            )
            for layer in view.architecture.layers
        ]
        costs = [prices.layer_ms(heads, ffn) for heads, ffn in widths]
        if sum(costs) <= room:
            options = [Option(heads, ffn, ms, 0.0) for (heads, ffn), ms in zip(widths, costs, strict=True)]
            return [_keep_best(view.sensitivity, layer, option) for layer, option in enumerate(options)]
    return None


def _share(percent: int, present: int, measured: tuple[int, ...]) -> int:
    """The widest measured width within this share of a block; the narrowest where none is, 0 where it is gone."""
    choices = [width for width in _choices(measured, present) if width or not present]
    return max((width for width in choices if 100 * width <= percent * present), default=choices[0])


def _everything(architecture: Architecture) -> Plan:
    return [LayerPlan(heads=tuple(range(layer.heads)), ffn=tuple(range(layer.ffn))) for layer in architecture.layers]


def _layer_options(sensitivity: Sensitivity, layer: int, heads: int, ffn: int, prices: Prices) -> list[Option]:
    head_curve, ffn_curve = sensitivity.head_curves[layer], sensitivity.ffn_curves[layer]
    return [
        Option(h, f, prices.layer_ms(h, f), head_curve.loss(h) + ffn_curve.loss(f))
        for h in _choices(prices.widths("attention"), heads)
        for f in _choices(prices.widths("ffn"), ffn)
    ]


def _choices(measured: tuple[int, ...], present: int) -> list[int]:
    return sorted({width for width in measured if width < present} | {present})


def _keep_best(sensitivity: Sensitivity, layer: int, option: Option) -> LayerPlan | None:
    if not option.heads and not option.ffn:
        return None
    return LayerPlan(heads=sensitivity.best_heads(layer, option.heads), ffn=sensitivity.best_neurons(layer, option.ffn))
