"""Predicted against measured latency: one row for each time the finished student met the clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from benchmarks.drawing import axes, svg
from benchmarks.drawing.scale import Scale, linear
from optimizer.report.wording import milliseconds

__all__ = ["TOLERANCE", "Meeting", "agreement"]

TOLERANCE = 0.10  # of the measured latency: what a prediction may miss
_RIGHT, _TOP, _ROW, _BOTTOM = 16, 10, 46, 46


@dataclass(frozen=True)
class Meeting:
    """A prediction and what the clock said, in milliseconds."""

    name: str
    predicted_ms: float
    measured_ms: float

    @property
    def error(self) -> float:
        """Relative to the measured latency; above 0 the prediction was too slow."""
        return self.predicted_ms / self.measured_ms - 1

    @property
    def sentence(self) -> str:
        """E.g. "predicted 2.01 ms, measured 2.07 ms: 2.9 % too low"."""
        side = "high" if self.error > 0 else "low"
        return (
            f"predicted {milliseconds(self.predicted_ms)}, measured {milliseconds(self.measured_ms)}: "
            f"{abs(100 * self.error):.1f} % too {side}"
        )


def agreement(meetings: Sequence[Meeting], *, width: int = 720) -> Markup:
    """The figure, `width` pixels wide: hollow predicted, filled measured, the band measured +-10 %."""
    if not meetings:
        return Markup("")
    height = _TOP + _ROW * len(meetings) + _BOTTOM
    x = linear(_extent(meetings), 12, width - _RIGHT, margin=0.12)
    rows = [_row(meeting, x, _TOP + _ROW * index, width) for index, meeting in enumerate(meetings)]
    ruler = axes.horizontal(x, height - _BOTTOM, "latency, ms", lambda value: f"{value:g}", 5)
    return svg.drawing(width, height, "predicted against measured latency", *rows, ruler)


def _extent(meetings: Sequence[Meeting]) -> list[float]:
    measured = [meeting.measured_ms * factor for meeting in meetings for factor in (1 - TOLERANCE, 1 + TOLERANCE)]
    return measured + [meeting.predicted_ms for meeting in meetings]


def _row(meeting: Meeting, x: Scale, top: float, width: int) -> Markup:
    y = top + 32
    low, high = x(meeting.measured_ms * (1 - TOLERANCE)), x(meeting.measured_ms * (1 + TOLERANCE))
    predicted, measured = x(meeting.predicted_ms), x(meeting.measured_ms)
    words = f"{meeting.name}: {meeting.sentence}" if width > 500 else f"{meeting.name}: {100 * meeting.error:+.1f} %"
    return svg.group(
        [
            svg.text(12, top + 14, words, "label"),
            svg.rect(low, y - 8, high - low, 16, "band", 3),
            svg.line(predicted, y, measured, y, "link"),
            svg.circle(measured, y, 5.5, "point student"),
            svg.circle(predicted, y, 5.5, "point student hollow"),
        ],
        title=f"{meeting.name}: {meeting.sentence}",
    )
