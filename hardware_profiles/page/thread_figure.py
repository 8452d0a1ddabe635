"""Thread scaling: how much faster one whole model is with more threads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from benchmarks.drawing import axes, svg
from benchmarks.drawing.numbers import milliseconds
from benchmarks.drawing.scale import Scale, logarithmic
from hardware_profiles.page.legend import legend, series
from hardware_profiles.page.subject import Subject

__all__ = ["ThreadLine", "thread_figure", "thread_lines"]

_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 34, 66


@dataclass(frozen=True)
class ThreadLine:
    """One precision: milliseconds by number of threads, ascending; 1 thread comes first."""

    precision: str
    ms: tuple[tuple[int, float], ...]

    @property
    def speedups(self) -> tuple[tuple[int, float], ...]:
        """(threads, times faster than with one)."""
        return tuple((threads, self.ms[0][1] / ms) for threads, ms in self.ms)


def thread_lines(subject: Subject) -> list[ThreadLine]:
    """Every precision that was timed with 1 thread and with more."""
    found: dict[str, dict[int, float]] = {}
    for model in subject.stock.thread_scaling:
        found.setdefault(model.precision, {})[model.workload.threads] = 1e3 * model.seconds
    lines = (ThreadLine(precision, tuple(sorted(ms.items()))) for precision, ms in found.items())
    return [line for line in lines if line.ms[0][0] == 1 and len(line.ms) > 1]


def thread_figure(lines: Sequence[ThreadLine], width: int = 492, height: int = 300) -> Markup:
    """The lines in pixels; dashed is what n threads would bring if nothing were lost. Both axes are logarithmic."""
    if not lines:
        return Markup("")
    counts = sorted({threads for line in lines for threads, _ in line.ms})
    x = logarithmic(counts, _LEFT + 20, width - _RIGHT - 30)
    gains = [gain for line in lines for _, gain in line.speedups]
    y = logarithmic([1, counts[-1], *gains], height - _BOTTOM, _TOP)
    ideal = [(x(counts[0]), y(counts[0])), (x(counts[-1]), y(counts[-1]))]
    return svg.drawing(
        width, height, "speed-up against number of threads",
        axes.vertical(y, _LEFT, width - _RIGHT, "times faster than one thread", "{:g}".format),
        svg.line(x.start, height - _BOTTOM, x.end, height - _BOTTOM, "axis"),
        *(svg.text(x(count), height - _BOTTOM + axes.TICK_GAP, str(count), "tick", "middle") for count in counts),
        svg.text(x.end, height - _BOTTOM + axes.NAME_GAP, "threads", "axis-name", "end"),
        svg.polyline(ideal, "even"),
        *(_line(line, series(number), x, y) for number, line in enumerate(lines)),
        legend([(line.precision, series(n)) for n, line in enumerate(lines)], _LEFT, height - 12),
    )  # fmt: skip


def _line(line: ThreadLine, colour: str, x: Scale, y: Scale) -> Markup:
    places = [(x(threads), y(gain)) for threads, gain in line.speedups]
    stories = [f"{line.precision}, {n} threads: {milliseconds(ms)}" for n, ms in line.ms]
    marks = [svg.circle(*at, 4.5, f"point {colour}", story) for at, story in zip(places, stories, strict=True)]
    return svg.group([svg.polyline(places, f"curve {colour}"), *marks])
