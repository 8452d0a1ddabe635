"""Axes of a figure: hairlines, tick numbers and the names of what is shown."""

from __future__ import annotations

from collections.abc import Callable

from markupsafe import Markup

from benchmarks.drawing import svg
from benchmarks.drawing.scale import Scale

__all__ = ["horizontal", "vertical"]

TICK_GAP = 16
NAME_GAP = 34


def horizontal(scale: Scale, bottom: float, name: str, write: Callable[[float], str], count: int = 6) -> Markup:
    """The axis below a figure: a line, numbers, and its name under them at the right end."""
    ticks = [svg.text(scale(tick), bottom + TICK_GAP, write(tick), "tick", "middle") for tick in scale.ticks(count)]
    marks = [svg.line(scale(tick), bottom, scale(tick), bottom + 4, "axis") for tick in scale.ticks(count)]
    base = svg.line(scale.start, bottom, scale.end, bottom, "axis")
    title = svg.text(scale.end, bottom + NAME_GAP, name, "axis-name", "end")
    return svg.group([base, *marks, *ticks, title])


def vertical(
    scale: Scale, left: float, right: float, name: str, write: Callable[[float], str], count: int = 5
) -> Markup:
    """Horizontal hairlines across a figure with numbers at the left; its name above them."""
    lines = [svg.line(left, scale(tick), right, scale(tick), "grid") for tick in scale.ticks(count)]
    ticks = [svg.text(left - 8, scale(tick) + 4, write(tick), "tick", "end") for tick in scale.ticks(count)]
    title = svg.text(left - 8, min(scale.start, scale.end) - 14, name, "axis-name", None)
    return svg.group([*lines, *ticks, title])
