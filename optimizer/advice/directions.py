"""Direction: one kind of compression from its gentlest way to its hardest."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hardware_profiles.runtimes.onnxruntime_sparse import BREAK_EVEN
from optimizer.advice.cuts import narrower, shallower
from optimizer.advice.record import Way
from optimizer.advice.site import Site
from optimizer.architecture import LayerShape
from optimizer.judgement import WORTHWHILE

__all__ = ["Direction", "directions", "halves", "narrow", "shallow", "zeros_pay"]

HALF = 0.5
ABOVE = 0.01  # random zeros are not exactly as many in every layer


@dataclass(frozen=True)
class Direction:
    """`ways` cut ever more of `base`, at one precision. There is no need of them where `base` is fast enough."""

    name: str
    base: Way
    ways: tuple[Way, ...]

    @property
    def combined(self) -> bool:
        """Whether `base` is cut already, in another direction."""
        return bool(self.base.cut)


def directions(site: Site) -> Iterator[Direction]:
    """Lower precision; fewer layers, narrower ones, zeros, each alone; and with half the layers or half the widths."""
    teacher = site.dense(site.precisions[0])
    for precision in site.precisions:
        whole = site.dense(precision)
        if precision != teacher.precision:
            yield Direction(precision, teacher, (whole,))
        yield Direction(f"depth {precision}", whole, tuple(_depths(site, precision)))
        yield from (_widths(site, base) for base in (whole, *halves(site, precision)[:1]))
        if site.sparse and zeros_pay(site, precision):
            yield from (_zeros(site, base) for base in (whole, *halves(site, precision)))


def shallow(site: Site, precision: str, depth: int) -> Way:
    """The model with `depth` of its layers."""
    layers = site.architecture.layers
    return site.dense(precision, shallower(layers, depth), f"{depth}/{len(layers)} layers")


def narrow(site: Site, base: Way, share: float) -> Way:
    """`base` with about this share of its heads and neurons."""
    layers = narrower(base.layers, share)
    return site.dense(base.precision, layers, _joined(base.cut, _widths_in_words(base.layers, layers, share)))


def halves(site: Site, precision: str) -> tuple[Way, ...]:
    """Half the layers (of a model that has several) and half the widths."""
    whole, depth = site.dense(precision), site.architecture.depth
    halved = (shallow(site, precision, depth // 2),) if depth > 1 else ()
    return (*halved, narrow(site, whole, HALF))


def zeros_pay(site: Site, precision: str) -> bool:
    """Whether the most zeros that were measured make the layers worth while faster."""
    if not site.skips_zeros(precision):
        return False
    prices, pattern = site.predictions(precision, site.sparse), site.skipped(precision)
    return prices.zeros_speedup(pattern, prices.sparsity_range(pattern)[1]) >= WORTHWHILE


def _depths(site: Site, precision: str) -> Iterator[Way]:
    return (shallow(site, precision, depth) for depth in range(site.architecture.depth - 1, 0, -1))


def _widths(site: Site, base: Way) -> Direction:
    found: dict[tuple[LayerShape, ...], Way] = {}
    for percent in range(99, 0, -1):
        way = narrow(site, base, percent / 100)
        found.setdefault(way.layers, way)
    ways = tuple(way for way in found.values() if way.layers != base.layers)
    return Direction(_joined(base.cut, f"width {base.precision}"), base, ways)


def _zeros(site: Site, base: Way) -> Direction:
    fewest, most = site.predictions(base.precision, site.sparse).sparsity_range(site.skipped(base.precision))
    if not _break_even_is_known(site, base):
        fewest = min(max(fewest, BREAK_EVEN + ABOVE), most)  # below, the runtime may keep such layers dense
    percents = range(math.ceil(100 * fewest - 1e-9), round(100 * most) + 1)
    ways = tuple(site.with_zeros(base, percent / 100) for percent in percents)
    return Direction(_joined(base.cut, f"zeros {base.precision}"), base, ways)


def _break_even_is_known(site: Site, way: Way) -> bool:
    """Whether every linear layer has a shape (outputs, inputs) whose break-even point was measured."""
    assert site.sparse is not None
    hidden, head_size = site.architecture.hidden_size, site.architecture.head_size
    inner = {width for layer in way.layers for width in (layer.heads * head_size, layer.ffn) if width}
    needed = {shape for width in inner for shape in ((width, hidden), (hidden, width))}
    points = (p for p in site.sparse.profile.break_even if (p.workload, p.precision) == (site.workload, way.precision))
    return needed <= {(point.out_features, point.in_features) for point in points}


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def _widths_in_words(before: Sequence[LayerShape], after: Sequence[LayerShape], share: float) -> str:
    """E.g. "6/12 heads, FFN 768"; the share where layers differ."""
    if len(set(before)) > 1 or len(set(after)) > 1:
        return f"{share:.0%} of the widths"
    return f"{after[0].heads}/{before[0].heads} heads, FFN {after[0].ffn}"
