"""Speed-up against sparsity, with the share of zeros from which each layer shape is faster sparse than dense."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from benchmarks.drawing import axes, svg
from benchmarks.drawing.labels import place
from benchmarks.drawing.scale import Scale, logarithmic
from hardware_profiles.page.legend import legend, series
from hardware_profiles.page.subject import WORDS, Subject
from hardware_profiles.profile import BreakEven
from hardware_profiles.unit import Kind, Pattern

__all__ = ["ZerosLine", "break_even_points", "zeros_figure", "zeros_lines"]

_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 34, 88
_LEGEND_LINE = 16


@dataclass(frozen=True)
class ZerosLine:
    """How much faster a kind of block is than dense, as (share of zeros, speed-up), ascending."""

    runtime: str
    precision: str
    pattern: Pattern
    kind: Kind
    points: tuple[tuple[float, float], ...]

    @property
    def name(self) -> str:
        """E.g. "Attention, block, onnxruntime-cpu+sparse"."""
        return f"{WORDS[self.kind][0]}, {self.pattern}, {self.runtime}"


def zeros_lines(subject: Subject, precision: str) -> list[ZerosLine]:
    """What zeros bring at a precision, with every runtime that was measured; from the widest blocks."""
    return [line for line in _lines(subject) if line.precision == precision and line.points]


def break_even_points(subject: Subject, precision: str) -> list[BreakEven]:
    """The break-even point of each layer shape at a precision, the lowest first."""
    found = [item for profile in subject.profiles for item in profile.break_even if item.precision == precision]
    mine = [item for item in found if item.workload == subject.workload and _is_of(subject, item)]
    return sorted(mine, key=lambda item: (item.sparsity, item.out_features, item.in_features))


def zeros_figure(
    lines: Sequence[ZerosLine], points: Sequence[BreakEven], width: int = 492, height: int = 360
) -> Markup:
    """The lines in pixels, and on the level of no gain a hollow point where each layer shape breaks even."""
    if not lines:
        return Markup("")
    x = Scale(0, 1, _LEFT, width - _RIGHT)
    y = logarithmic([1.0, *(gain for line in lines for _, gain in line.points)], height - _BOTTOM, _TOP)
    shown = [item for item in points if item.sparsity < 1]
    places = [(x(item.sparsity), y(1.0)) for item in shown]
    names = place(places, [_size(item) for item in shown], width, height - _BOTTOM)
    keys = [(line.name, series(number)) for number, line in enumerate(lines)]
    return svg.drawing(
        width, height, f"speed-up against share of zeros, {lines[0].precision}",
        axes.vertical(y, _LEFT, width - _RIGHT, "times faster than dense (logarithmic)", "{:g}".format),
        axes.horizontal(x, height - _BOTTOM, "share of zeros", lambda value: f"{100 * value:g} %"),
        svg.line(_LEFT, y(1.0), width - _RIGHT, y(1.0), "even"),
        *(_line(line, series(number), x, y) for number, line in enumerate(lines)),
        *(svg.circle(*at, 4.5, "point hollow", f"{_size(item)} breaks even at {item.sparsity:.0%}")
          for at, item in zip(places, shown, strict=True)),
        *(svg.text(name.x, name.y, name.words, "label tick", name.anchor) for name in names if name),
        *(legend([key], _LEFT, height - _BOTTOM + 50 + _LEGEND_LINE * row) for row, key in enumerate(keys)),
    )  # fmt: skip


def _lines(subject: Subject) -> Iterator[ZerosLine]:
    for profile in subject.profiles:
        for precision, table in subject.tables(profile).items():
            for (kind, pattern), curve in table.zeros.items():
                points = tuple((sparsity, 1 / ratio) for sparsity, ratio in curve.points if ratio > 0)
                yield ZerosLine(profile.runtime_record.name, precision, pattern, kind, points)


def _is_of(subject: Subject, item: BreakEven) -> bool:
    return subject.hidden_size in (item.out_features, item.in_features)


def _line(line: ZerosLine, colour: str, x: Scale, y: Scale) -> Markup:
    places = [(x(sparsity), y(gain)) for sparsity, gain in line.points]
    marks = [
        svg.circle(*at, 3.2, f"point {colour}", f"{line.name}, {sparsity:.0%} zeros: {gain:.2f}x")
        for at, (sparsity, gain) in zip(places, line.points, strict=True)
    ]
    return svg.group([svg.polyline(places, f"curve {colour}"), *marks])


def _size(item: BreakEven) -> str:
    return f"{item.out_features}x{item.in_features}"
