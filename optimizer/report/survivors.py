"""What was kept in each layer, and what it was worth: heads as a heat map, neurons as bars."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from benchmarks.drawing import svg
from optimizer.decision_record import KeptLayer
from optimizer.report.wording import percent, scientific

__all__ = ["strength", "survivors"]

_LABEL, _COUNT, _NEURON_COUNT = 58, 62, 220  # px of columns
_CELL, _LEAST_CELL, _SPACE = 20.0, 4.0, 3
_TOP, _ROW, _NARROW_ROW, _LEGEND = 22, 27, 44, 40
_BAR = 16
_FAINTEST = 0.15


def survivors(kept: Sequence[KeptLayer], *, width: int = 720) -> Markup:
    """The figure, `width` pixels wide: a row for each of the teacher's layers, empty where nothing is left of it.

    A head is a square, the darker the more important (`strength`); crossed out it is gone. A layer's bar is as long as
    it has neurons, filled as far as they live on, the darker the more important the layer's neurons are together.
    """
    if not kept:
        return Markup("")
    place = _Places.of(kept, width)
    heads_scale = max((value for each in kept for value in each.head_importance), default=0.0)
    ffn_scale = max((each.ffn_importance or 0.0 for each in kept), default=0.0)
    parts = [] if place.narrow else [svg.text(_LABEL, 12, "attention heads", "tick")]
    parts += [] if place.narrow else [svg.text(place.bars, 12, "feed-forward neurons", "tick")]
    for index, layer in enumerate(kept):
        y = _TOP + index * place.row
        parts.append(svg.text(0, y + 15, f"layer {layer.layer}", "tick"))
        parts += _heads(layer, y, place.cell, heads_scale)
        parts.append(svg.text(place.counts, y + 15, f"{len(layer.heads)} / {layer.heads_total}", "tick"))
        parts += _neurons(layer, y, place, ffn_scale)
    height = _TOP + len(kept) * place.row + (_LEGEND if heads_scale else 4)
    if heads_scale:
        parts.append(_legend(_LABEL, height - 20))
    return svg.drawing(width, height, _in_words(kept), *parts)


@dataclass(frozen=True)
class _Places:
    """Where the columns are, in pixels: the counts of heads, the bars and their room; `unit` is one neuron wide."""

    narrow: bool  # for a phone: the bars lie below the heads
    cell: float
    counts: float
    bars: float
    room: float
    unit: float

    @classmethod
    def of(cls, kept: Sequence[KeptLayer], width: int) -> _Places:
        """For layers as large as the largest."""
        narrow = width < 500
        heads, neurons = (max(1, *(getattr(each, name) for each in kept)) for name in ("heads_total", "ffn_total"))
        for_heads = (1.0 if narrow else 0.42) * width - _LABEL - _COUNT
        cell = max(_LEAST_CELL, min(_CELL, for_heads / heads - _SPACE))
        counts = _LABEL + heads * (cell + _SPACE) + 8
        bars = _LABEL if narrow else counts + _COUNT
        room = width - bars - (0 if narrow else _NEURON_COUNT)
        return cls(narrow, cell, counts, bars, room, room / neurons)

    @property
    def row(self) -> int:
        """Height of a layer's row."""
        return _NARROW_ROW if self.narrow else _ROW


def strength(importance: float, most: float) -> float:
    """How dark a unit is drawn, in (0, 1]: by the root of its share of the greatest, so that small ones differ too."""
    if most <= 0:
        return 1.0
    return _FAINTEST + (1 - _FAINTEST) * math.sqrt(max(importance, 0.0) / most)


def _heads(layer: KeptLayer, top: float, cell: float, most: float) -> Iterable[Markup]:
    for head in range(layer.heads_total):
        x, lives = _LABEL + head * (cell + _SPACE), head in layer.heads
        worth = layer.head_importance[head] if head < len(layer.head_importance) else None
        tip = f"layer {layer.layer}, head {head}: {'kept' if lives else 'removed'}"
        tip += "" if worth is None else f", {scientific(worth)} nats"
        yield _unit(x, top, cell, 1.0 if worth is None else strength(worth, most), tip, lives=lives)


def _unit(x: float, y: float, side: float, dark: float, tip: str, *, lives: bool) -> Markup:
    """A square; where it is gone, an outlined and crossed one that still shows what it was worth."""
    square = svg.element(
        "rect", x=x, y=y, width=side, height=side, rx=3.0, class_="unit" if lives else "unit gone",
        fill_opacity=dark if lives else 0.6 * dark,
    )  # fmt: skip
    cross = None if lives else svg.line(x + 3, y + side - 3, x + side - 3, y + 3, "axis")
    return svg.group([square, cross], title=tip)


def _neurons(layer: KeptLayer, row: float, place: _Places, most: float) -> Iterable[Markup]:
    top, thick = (row + place.cell + 5, 8) if place.narrow else (row + 2, _BAR)
    dark = 1.0 if layer.ffn_importance is None else strength(layer.ffn_importance, most)
    words = f"{layer.ffn} / {layer.ffn_total}" if layer.heads or layer.ffn else "layer removed"
    if layer.ffn_importance_kept is not None and layer.ffn:
        words += f", {percent(layer.ffn_importance_kept)} of importance"
    track = svg.rect(place.bars, top, layer.ffn_total * place.unit, thick, "unit gone track-only", 3)
    filled = svg.element(
        "rect", x=place.bars, y=top, width=layer.ffn * place.unit, height=thick, rx=3, class_="unit", fill_opacity=dark
    )
    yield svg.group([track, filled], title=f"layer {layer.layer}: {words}")
    if not place.narrow:
        yield svg.text(place.bars + place.room + 10, top + thick - 3, words, "tick")


def _legend(left: float, y: float) -> Markup:
    shades = (0.0, 0.1, 0.3, 0.6, 1.0)
    squares = [
        svg.element("rect", x=left + 32 + 15 * i, y=y, width=12, height=12, rx=2.0, class_="unit",
                    fill_opacity=strength(share, 1.0))
        for i, share in enumerate(shades)
    ]  # fmt: skip
    right = left + 32 + 15 * len(shades)
    gone = _unit(right + 52, y, 12, 0.3, "removed", lives=False)
    words = [(left, "less"), (right + 2, "more"), (right + 70, "removed")]
    return svg.group([*squares, gone, *(svg.text(x, y + 10, word, "tick") for x, word in words)])


def _in_words(kept: Sequence[KeptLayer]) -> str:
    layers = (f"{len(each.heads)} of {each.heads_total} heads, {each.ffn} of {each.ffn_total} neurons" for each in kept)
    return "what was kept of each layer: " + "; ".join(layers)
