"""Precision by runtime: the same whole models with every runtime, precision and share of zeros."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from benchmarks.drawing import axes, svg
from benchmarks.drawing.numbers import milliseconds
from benchmarks.drawing.scale import Scale
from hardware_profiles.clock import Clock
from hardware_profiles.page.legend import legend, series
from hardware_profiles.page.subject import Subject
from hardware_profiles.shape import EncoderShape
from hardware_profiles.unit import zeros_in_words

__all__ = ["Bar", "ShapeBars", "runtime_bars", "runtime_figure"]

_RIGHT, _TOP, _BOTTOM = 16, 6, 66
_BAR, _HEADING, _GAP = 22, 24, 10
_LETTER = 6.3


@dataclass(frozen=True)
class Bar:
    """One whole model: with which runtime, at which precision, with which zeros it took how long."""

    runtime: str
    precision: str
    zeros: str
    ms: float
    iqr_ms: float

    @property
    def high(self) -> float:
        """Where the interquartile range ends that is drawn around the median."""
        return self.ms + self.iqr_ms / 2

    @property
    def name(self) -> str:
        """E.g. "int8, 80% zero blocks"."""
        return ", ".join(filter(None, [self.precision, self.zeros]))


@dataclass(frozen=True)
class ShapeBars:
    """A shape in words, and its bars: the stock runtime's first."""

    shape: str
    bars: tuple[Bar, ...]


def runtime_bars(subject: Subject) -> list[ShapeBars]:
    """Every whole model of the stock profile, with what other profiles know of its shape."""
    shapes = dict.fromkeys(anchor.shape for anchor in subject.anchors(subject.stock))
    return [ShapeBars(_words(shape), _bars(subject, shape)) for shape in shapes]


def runtime_figure(groups: Sequence[ShapeBars], width: int = 1016) -> Markup:
    """Bars in pixels, one colour a runtime, with the milliseconds at their ends and the interquartile range on them."""
    bars = [bar for group in groups for bar in group.bars]
    if not bars:
        return Markup("")
    runtimes = list(dict.fromkeys(bar.runtime for bar in bars))
    left = 12 + _LETTER * max(len(bar.name) for bar in bars)
    height = _TOP + sum(_HEADING + _BAR * len(group.bars) + _GAP for group in groups) + _BOTTOM
    x = Scale(0, max(bar.high for bar in bars), left, width - _RIGHT - 60)
    parts, top = [], float(_TOP)
    for group in groups:
        parts.append(svg.text(0, top + 16, group.shape, "label strong"))
        top += _HEADING
        for bar in group.bars:
            parts.append(_bar(bar, series(runtimes.index(bar.runtime)), x, top))
            top += _BAR
        top += _GAP
    return svg.drawing(
        width, height, f"milliseconds of {len(groups)} whole models by runtime and precision", *parts,
        axes.horizontal(x, height - _BOTTOM, "ms an inference", "{:g}".format),
        legend([(name, series(number)) for number, name in enumerate(runtimes)], 0, height - 12),
    )  # fmt: skip


def _bars(subject: Subject, shape: EncoderShape) -> tuple[Bar, ...]:
    found = []
    for profile in subject.profiles:
        clock = Clock(profile)
        for anchor in subject.anchors(profile):
            if anchor.shape == shape:
                factor = 1e3 * clock.factor(anchor)
                zeros = zeros_in_words(anchor.pattern, anchor.sparsity) if anchor.sparsity else ""
                name = profile.runtime_record.name
                found.append(Bar(name, anchor.precision, zeros, factor * anchor.seconds, factor * anchor.iqr))
    return tuple(found)


def _words(shape: EncoderShape) -> str:
    depth, kinds = len(shape.layers), set(shape.layers)
    if len(kinds) > 1:
        return f"{depth} uneven layers, {sum(x.heads for x in shape.layers)} heads and " + (
            f"{sum(x.ffn for x in shape.layers)} neurons in all"
        )
    (layer,) = kinds
    return f"{depth} layer{'s' if depth > 1 else ''} of {layer.heads} heads and {layer.ffn} neurons"


def _bar(bar: Bar, colour: str, x: Scale, top: float) -> Markup:
    end, middle = x(bar.ms), top + _BAR / 2
    low = x(max(0.0, bar.ms - bar.iqr_ms / 2))
    return svg.group(
        [
            svg.text(x.start - 8, middle + 4, bar.name, "tick", "end"),
            svg.rect(x.start, top + 4, end - x.start, _BAR - 8, f"bin {colour}", 2),
            svg.line(low, middle, x(bar.high), middle, "spread"),
            svg.text(x(bar.high) + 8, middle + 4, milliseconds(bar.ms), "tick"),
        ],
        title=f"{bar.runtime}, {bar.name}: {milliseconds(bar.ms)}, IQR {milliseconds(bar.iqr_ms)}",
    )
