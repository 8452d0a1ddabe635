"""What colours mean."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from benchmarks.drawing import svg

__all__ = ["legend", "series"]

_COLOURS = 4
_LETTER = 6.4  # mean width of a letter of the figures' 11 px type, and some, in px


def series(number: int) -> str:
    """The style of the n-th series, from 0; colours come again after the fourth."""
    return f"series-{number % _COLOURS}"


def legend(names: Sequence[tuple[str, str]], left: float, y: float) -> Markup:
    """(name, class) side by side from `left`, baseline `y`, in pixels; a class with "hollow" gives a hollow mark."""
    parts: list[Markup] = []
    for name, class_ in names:
        parts += [svg.circle(left + 5, y - 4, 4.5, f"point {class_}"), svg.text(left + 15, y, name, "tick")]
        left += 15 + _LETTER * len(name) + 14
    return svg.group(parts)
