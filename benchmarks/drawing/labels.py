"""Labels beside points that cover neither each other nor another point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Box", "Label", "place"]

Box = tuple[float, float, float, float]

_LETTER = 6.3  # mean width of a letter of the figures' 12 px type, in px
_HEIGHT = 15.0
_GAP = 10.0


@dataclass(frozen=True)
class Label:
    """Words with their baseline and anchor. `x`, `y` in pixels."""

    words: str
    x: float
    y: float
    anchor: str

    @property
    def box(self) -> Box:
        """Left, top, right, bottom."""
        width = len(self.words) * _LETTER
        left = {"start": self.x, "middle": self.x - width / 2, "end": self.x - width}[self.anchor]
        return left, self.y - _HEIGHT + 4, left + width, self.y + 4


def place(
    points: Sequence[tuple[float, float]],
    words: Sequence[str | None],
    width: float,
    height: float,
    blocked: Sequence[Box] = (),
) -> list[Label | None]:
    """A label for each point in the order given, the most important first; None where no side is free.

    `width` and `height` bound the drawing in pixels. A point whose words are None only keeps others away,
    and so do the `blocked` boxes (left, top, right, bottom).
    """
    taken = [*blocked, *((x - 6, y - 6, x + 6, y + 6) for x, y in points)]
    placed: list[Label | None] = []
    for (x, y), name in zip(points, words, strict=True):
        found = None if name is None else _first_free(x, y, name, taken, width, height)
        placed.append(found)
        if found is not None:
            taken.append(found.box)
    return placed


def _first_free(
    x: float,
    y: float,
    words: str,
    taken: Sequence[Box],
    width: float,
    height: float,
) -> Label | None:
    for label in _sides(x, y, words):
        left, top, right, bottom = label.box
        inside = left >= 0 and right <= width and top >= 0 and bottom <= height
        if inside and not any(left < r and l < right and top < b and t < bottom for l, t, r, b in taken):  # noqa: E741
            return label
    return None


def _sides(x: float, y: float, words: str) -> tuple[Label, ...]:
    return (
        Label(words, x + _GAP, y + 4, "start"),
        Label(words, x - _GAP, y + 4, "end"),
        Label(words, x, y - _GAP, "middle"),
        Label(words, x, y + _GAP + 9, "middle"),
        Label(words, x + _GAP, y - 9, "start"),
        Label(words, x + _GAP, y + 17, "start"),
        Label(words, x - _GAP, y - 9, "end"),
        Label(words, x - _GAP, y + 17, "end"),
    )
