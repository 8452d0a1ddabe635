"""Share of machine peak: what dense blocks make of the arithmetic that the machine can do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from benchmarks.drawing import axes, svg
from benchmarks.drawing.scale import Scale
from benchmarks.machine_peak import MachinePeak
from benchmarks.workload import Workload
from hardware_profiles.machine import peak_precision
from hardware_profiles.page.legend import legend, series
from hardware_profiles.page.subject import WORDS, Subject
from hardware_profiles.page.width_figure import WidthCurve
from hardware_profiles.unit import Kind, block_weights

__all__ = ["PeakLine", "block_operations", "peak_figure", "peak_lines"]

_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 34, 66
_ROUND = 0.1


@dataclass(frozen=True)
class PeakLine:
    """A kind of block at one precision: (width, share of the peak), ascending."""

    kind: Kind
    precision: str
    peak: MachinePeak
    points: tuple[tuple[int, float], ...]

    @property
    def unit(self) -> str:
        """What the peak is counted in."""
        return "GFLOP/s" if self.peak.precision == "fp32" else "int8 GOP/s"


def block_operations(kind: Kind, width: int, hidden_size: int, head_size: int, workload: Workload) -> float:
    """Multiplications and additions of a block's matrix products, two for each weight and token.

    Attention also multiplies queries by keys and weights by values: 4 x tokens^2 x head size for each head and row.
    """
    products = 2 * workload.batch * workload.seq_len * block_weights(kind, width, hidden_size, head_size)
    scores = 4 * workload.batch * workload.seq_len**2 * width * head_size if kind == "attention" else 0
    return float(products + scores)


def peak_lines(subject: Subject, curves: Sequence[WidthCurve]) -> list[PeakLine]:
    """The curves of one kind of block as shares of the peak; precisions without a measured peak are left out."""
    head_size = subject.stock.entries[0].unit.head_size
    peaks = {peak.precision: peak for peak in subject.stock.peaks if peak.threads == subject.workload.threads}
    lines = []
    for curve in curves:
        arithmetic = peak_precision(curve.precision)
        if arithmetic not in peaks:
            continue
        peak = peaks[arithmetic]
        points = (
            (width, 1e-6 * block_operations(curve.kind, width, subject.hidden_size, head_size, subject.workload) / ms)
            for width, ms in curve.model
            if width and ms
        )
        shares = tuple((width, peak.share(gflops)) for width, gflops in points)
        lines.append(PeakLine(curve.kind, curve.precision, peak, shares))
    return lines


def peak_figure(lines: Sequence[PeakLine], width: int = 492, height: int = 300) -> Markup:
    """The lines of one kind of block, in pixels."""
    points = [point for line in lines for point in line.points]
    if not points:
        return Markup("")
    x = Scale(0, max(width for width, _ in points), _LEFT, width - _RIGHT)
    highest = max(share for _, share in points)
    y = Scale(0, _ROUND * (int(highest / _ROUND) + 1), height - _BOTTOM, _TOP)
    name, widths = WORDS[lines[0].kind]
    return svg.drawing(
        width, height, f"{name}: share of the machine's peak against {widths}",
        axes.vertical(y, _LEFT, width - _RIGHT, "of the peak", lambda value: f"{100 * value:g} %"),
        axes.horizontal(x, height - _BOTTOM, widths, "{:g}".format),
        *(_line(line, series(number), x, y) for number, line in enumerate(lines)),
        legend([(line.precision, series(n)) for n, line in enumerate(lines)], _LEFT, height - 12),
    )  # fmt: skip


def _line(line: PeakLine, colour: str, x: Scale, y: Scale) -> Markup:
    places = [(x(width), y(share)) for width, share in line.points]
    marks = [
        svg.circle(
            *at, 3.2, f"point {colour}",
            f"{line.precision}, {width} {WORDS[line.kind][1]}: {share * line.peak.gflops:.3g} {line.unit}, {share:.0%}",
        )
        for at, (width, share) in zip(places, line.points, strict=True)
    ]  # fmt: skip
    return svg.group([svg.polyline(places, f"curve {colour}"), *marks])
