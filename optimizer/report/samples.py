"""Every timed inference of one contestant: in the order taken, with their histogram at the side."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from benchmarks.drawing import axes, svg
from benchmarks.drawing.scale import Scale

__all__ = ["FENCE", "fence", "samples"]

FENCE = 3.0  # interquartile ranges above the upper quartile: what Tukey called far out
_LEFT, _TOP, _BOTTOM, _HISTOGRAM, _GUTTER = 46, 30, 30, 62, 46
_LABEL_GAP = 12.0
_MOST_DOTS = 2000
_BINS = 28


def samples(
    ms: NDArray[np.float64],
    launches: NDArray[np.int_],
    counted: NDArray[np.bool_],
    *,
    median: float,
    p90: float | None,
    role: str,
    width: int = 340,
    height: int = 220,
) -> Markup:
    """The figure of all timed calls `ms` (milliseconds, shape [n], in the order taken) with median and p90.

    `launches` (shape [n]) names the process of each. Calls that are not `counted` (shape [n]; another process
    interrupted them) are pale and not in the histogram. The axis ends at `fence(ms)`; slower calls sit on the
    upper edge. Above 2000 calls only every k-th is drawn. `role` is "student", "teacher" or "baseline".
    """
    y = _latency_scale(ms, median, p90, height)
    right = width - _HISTOGRAM - _GUTTER
    xs = np.linspace(_LEFT + 4, right - 4, len(ms))
    return svg.drawing(
        width, height, f"{len(ms)} latencies around a median of {median:.3g} ms",
        axes.vertical(y, _LEFT, width - _GUTTER, "ms", "{:.4g}".format, 4),
        _launches(xs, launches, y),
        _trace(xs[~counted], ms[~counted], y, "interrupted"),
        _trace(xs[counted], ms[counted], y, f"{role}-sample"),
        _histogram(ms[counted], y, right + 6, width - _GUTTER, role),
        _levels(median, p90, y, width - _GUTTER),
        svg.text(_LEFT, height - 8, f"{len(ms)} calls in the order made \N{RIGHTWARDS ARROW}", "tick"),
        svg.text(width - _GUTTER, height - 8, "how many", "tick", "end"),
    )  # fmt: skip


def fence(ms: NDArray[np.float64]) -> float:
    """The slowest latency drawn to scale: upper quartile plus three interquartile ranges (Tukey 1977)."""
    lower, upper = np.quantile(ms, (0.25, 0.75))
    return float(min(upper + FENCE * (upper - lower), ms.max()))


def _latency_scale(ms: NDArray[np.float64], median: float, p90: float | None, height: int) -> Scale:
    low, high = float(ms.min()), max(fence(ms), p90 or median)
    spare = max((high - low) * 0.06, 0.005 * median)
    return Scale(low - spare, high + spare, height - _BOTTOM, _TOP)


def _trace(xs: NDArray[np.float64], ms: NDArray[np.float64], y: Scale, class_: str) -> Markup:
    step = max(-(-len(ms) // _MOST_DOTS), 1)
    places = ((float(x), max(y(float(value)), y.end)) for x, value in zip(xs[::step], ms[::step], strict=True))
    return svg.dots(places, f"sample {class_}")


def _launches(xs: NDArray[np.float64], launches: NDArray[np.int_], y: Scale) -> Markup:
    starts = xs[np.flatnonzero(np.diff(launches)) + 1]
    return svg.group([svg.line(float(x), y.start, float(x), y.end, "launch") for x in starts], title="a new process")


def _histogram(ms: NDArray[np.float64], y: Scale, left: float, right: float, role: str) -> Markup:
    counts, edges = np.histogram(np.minimum(ms, y.high), bins=_BINS, range=(y.low, y.high))
    unit, tall = (right - left) / max(int(counts.max()), 1), (y.start - y.end) / _BINS
    bars = (
        svg.rect(left, y(float(top)) + 0.4, unit * int(count), tall - 0.8, f"bin {role}-fill")
        for count, top in zip(counts, edges[1:], strict=True)
        if count
    )
    return svg.group(bars)


def _levels(median: float, p90: float | None, y: Scale, right: float) -> Markup:
    apart = 0.0 if p90 is None else max(_LABEL_GAP - (y(median) - y(p90)), 0.0) / 2
    tail = None if p90 is None else _level(p90, y, right, "p90", -apart)
    return svg.group([_level(median, y, right, "median", apart), tail])


def _level(value: float, y: Scale, right: float, name: str, shift: float) -> Markup:
    words = svg.text(right + 5, y(value) + 4 + shift, name, "level-name")
    return svg.group([svg.line(_LEFT, y(value), right, y(value), f"level {name}"), words])
