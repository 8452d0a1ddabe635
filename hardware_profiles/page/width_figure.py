"""Latency against width: what was measured, with its spread, and the monotone curve that the model uses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from benchmarks.drawing import axes, svg
from benchmarks.drawing.numbers import milliseconds
from benchmarks.drawing.scale import Scale
from hardware_profiles.clock import Clock
from hardware_profiles.latency_table import in_cache, spread
from hardware_profiles.page.legend import legend, series
from hardware_profiles.page.subject import WORDS, Subject
from hardware_profiles.staircase import Step, steps
from hardware_profiles.unit import Kind

__all__ = ["TimedBlock", "WidthCurve", "width_curves", "width_figure"]

_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 34, 66


@dataclass(frozen=True)
class TimedBlock:
    """One width as measured: milliseconds of a block with its weights in cache, and their interquartile range."""

    width: int
    ms: float
    iqr_ms: float


@dataclass(frozen=True)
class WidthCurve:
    """A kind of block at one precision: as measured, as the model takes it (width, ms), and its steps."""

    kind: Kind
    precision: str
    blocks: tuple[TimedBlock, ...]
    model: tuple[tuple[int, float], ...]
    steps: tuple[Step, ...]


def width_curves(subject: Subject, kind: Kind) -> list[WidthCurve]:
    """One curve for each precision of the stock profile."""
    return list(_curves(subject, kind))


def width_figure(curves: Sequence[WidthCurve], width: int = 492, height: int = 320) -> Markup:
    """The curves of one kind of block, in pixels; thick where they step up."""
    if not curves:
        return Markup("")
    blocks = [block for curve in curves for block in curve.blocks]
    x = Scale(0, max(block.width for block in blocks), _LEFT, width - _RIGHT)
    y = Scale(0, 1.08 * max(block.ms + block.iqr_ms / 2 for block in blocks), height - _BOTTOM, _TOP)
    name, widths = WORDS[curves[0].kind]
    return svg.drawing(
        width, height, f"{name}: milliseconds of one block against {widths}",
        axes.vertical(y, _LEFT, width - _RIGHT, "ms a block", "{:g}".format),
        axes.horizontal(x, height - _BOTTOM, widths, "{:g}".format),
        *(_curve(curve, series(number), x, y) for number, curve in enumerate(curves)),
        legend([(curve.precision, series(n)) for n, curve in enumerate(curves)], _LEFT, height - 12),
    )  # fmt: skip


def _curves(subject: Subject, kind: Kind) -> Iterator[WidthCurve]:
    clock = Clock(subject.stock)
    for precision, table in subject.tables(subject.stock).items():
        entries = [
            entry
            for entry in subject.stock.entries
            if (entry.unit.kind, entry.unit.sparsity, entry.precision) == (kind, 0.0, precision)
        ]
        entries.sort(key=lambda entry: entry.unit.width)
        spreads = [spread(entry, clock) for entry in entries]
        blocks = tuple(
            TimedBlock(entry.unit.width, 1e3 * in_cache(entry, clock, table.cache), 1e3 * iqr)
            for entry, iqr in zip(entries, spreads, strict=True)
        )
        widths, seconds = table.curves[kind]
        model = tuple((int(width), 1e3 * float(value)) for width, value in zip(widths, seconds, strict=True))
        found = steps([int(width) for width in widths], [float(value) for value in seconds], spreads)
        yield WidthCurve(kind, precision, blocks, model, found)


def _curve(curve: WidthCurve, colour: str, x: Scale, y: Scale) -> Markup:
    places = {width: (x(width), y(ms)) for width, ms in curve.model}
    risers = [svg.polyline([places[step.low], places[step.high]], f"riser {colour}") for step in curve.steps]
    marks = [_mark(curve, block, colour, x, y) for block in curve.blocks]
    return svg.group([*risers, svg.polyline(list(places.values()), f"curve {colour}"), *marks])


def _mark(curve: WidthCurve, block: TimedBlock, colour: str, x: Scale, y: Scale) -> Markup:
    at, half = x(block.width), block.iqr_ms / 2
    story = f"{curve.precision}, {block.width} {WORDS[curve.kind][1]}: {milliseconds(block.ms)}"
    whisker = svg.line(at, y(block.ms - half), at, y(block.ms + half), f"whisker {colour}")
    return svg.group([whisker, svg.circle(at, y(block.ms), 3.2, f"point {colour}")], title=story)
