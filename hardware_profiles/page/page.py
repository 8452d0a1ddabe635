"""The page: what the profiles of one device say, laid out for somebody who has to choose a shape for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.drawing.numbers import milliseconds, percent
from benchmarks.drawing.responsive import both
from benchmarks.drawing.templates import environment
from hardware_profiles.clock import Clock
from hardware_profiles.latency_model import LatencyModel
from hardware_profiles.page.peak_figure import PeakLine, peak_figure, peak_lines
from hardware_profiles.page.runtime_figure import runtime_bars, runtime_figure
from hardware_profiles.page.subject import BLOCKS, WORDS, Subject
from hardware_profiles.page.thread_figure import ThreadLine, thread_figure, thread_lines
from hardware_profiles.page.width_figure import WidthCurve, width_curves, width_figure
from hardware_profiles.page.zeros_figure import break_even_points, zeros_figure, zeros_lines
from hardware_profiles.profile import Anchor, LatencyProfile
from hardware_profiles.profile_table import options_in_words
from hardware_profiles.provenance import provenance_in_words
from hardware_profiles.steadiness import profile_instability
from hardware_profiles.unit import block_weights

__all__ = ["profile_page", "write_page"]

_HALF = 492  # pixels: two figures side by side
_BELIEVABLE = 1.05  # of the peak
_SPARSE = "onnxruntime-cpu+sparse"


def write_page(path: Path, profiles: Sequence[LatencyProfile]) -> Path:
    """Write `profile_page` to a file and return its path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(profile_page(profiles), encoding="utf-8", newline="\n")
    return path


def profile_page(profiles: Sequence[LatencyProfile]) -> str:
    """The page as HTML that loads nothing; the same profiles give the same text.

    `profiles` has one for each runtime, the stock runtime's first; all of one device, model size and workload: raises
    TrimfitError for others. What they do not know is not drawn; the page names the command that measures it.
    """
    template = environment("hardware_profiles.page").get_template("page.html.jinja")
    return template.render(_context(Subject.of(profiles)))


def _context(subject: Subject) -> dict[str, Any]:
    curves = {kind: width_curves(subject, kind) for kind in BLOCKS}
    peaks = {kind: peak_lines(subject, curves[kind]) for kind in BLOCKS}
    threads = thread_lines(subject)
    zeros = [_zeros(subject, precision) for precision in subject.precisions]
    stock, models = subject.stock, runtime_bars(subject)
    sections: dict[str, Any] = {
        "widths": [_widths(curves[kind]) for kind in BLOCKS],
        "zeros": [panel for panel in zeros if panel],
        "break_even": _break_even_table(subject),
        "runtimes": both(lambda width: runtime_figure(models, width)) if models else "",
        "threads": _threads(threads) if threads else None,
        "peaks": [_peak(peaks[kind]) for kind in BLOCKS if peaks[kind]],
    }
    return {
        **sections,
        "device": stock.device,
        "provenance": provenance_in_words(stock.device.provenance),
        "hidden_size": subject.hidden_size,
        "workload": subject.workload,
        "runtimes_used": [_runtime(profile) for profile in subject.profiles],
        "facts": list(_facts(subject)),
        "doubts": list(_doubts(subject, [line for kind in BLOCKS for line in peaks[kind]])),
        "memory": list(_memory(subject)),
        "missing": list(_missing(subject, sections)),
    }


def _runtime(profile: LatencyProfile) -> str:
    record = profile.runtime_record
    hidden = ("custom_op_library", "break_even")  # a path, and what the figures show
    options = {key: value for key, value in record.options.items() if key not in hidden}
    return f"{record.name} {record.version}, {options_in_words(options)}"


def _doubts(subject: Subject, peaks: Sequence[PeakLine]) -> Iterator[str]:
    for profile in subject.profiles:
        for sentence in profile_instability(profile):
            yield f"{profile.runtime_record.name}: {sentence}"
    for precision in dict.fromkeys(line.precision for line in peaks):
        most = max((share for line in peaks if line.precision == precision for _, share in line.points), default=0.0)
        if most > _BELIEVABLE:
            yield (
                f"{precision}: blocks reached {most:.0%} of the machine's peak, so the peak was measured in a busier "
                "moment: profile again with --fresh"
            )


def _facts(subject: Subject) -> Iterator[dict[str, str]]:
    """The largest whole model at every precision, and the machine."""
    stock = subject.stock
    largest = max(map(_weights, subject.anchors(stock)), default=0)
    whole = [a for a in subject.anchors(stock) if _weights(a) == largest and not a.sparsity]
    first = {a.precision: 1e3 * a.seconds * Clock(stock).factor(a) for a in whole}
    for precision, ms in sorted(first.items(), key=lambda item: item[0] != "fp32"):
        ratio = "" if precision == "fp32" or "fp32" not in first else f"{first['fp32'] / ms:.2f}x faster than fp32"
        yield {
            "name": f"largest model, {precision}",
            "value": milliseconds(ms),
            "more": ratio or f"{len(whole[0].shape.layers)} layers",
        }
    for peak in stock.peaks:
        if peak.threads == subject.workload.threads:
            unit = "GFLOP/s" if peak.precision == "fp32" else "GOP/s"
            shape = " x ".join(map(str, peak.shape))
            yield {"name": f"peak, {peak.precision}", "value": f"{peak.gflops:.3g} {unit}", "more": f"product {shape}"}
    for bandwidth in stock.bandwidths:
        if bandwidth.threads == subject.workload.threads:
            size = f"streaming {bandwidth.bytes / 1e6:.0f} MB"
            yield {"name": "memory", "value": f"{bandwidth.gigabytes_per_second:.3g} GB/s", "more": size}


def _weights(anchor: Anchor) -> int:
    shape = anchor.shape
    blocks = [(kind, width) for x in shape.layers for kind, width in zip(BLOCKS, (x.heads, x.ffn), strict=True)]
    return sum(block_weights(kind, width, shape.hidden_size, shape.head_size) for kind, width in blocks)


def _widths(curves: list[WidthCurve]) -> dict[str, Any]:
    kind = curves[0].kind
    steepest = [
        f"{curve.precision}: "
        + "; ".join(
            f"{step.low} to {step.high} +{milliseconds(1e3 * step.seconds)} ({step.steepness:.1f}x the average slope)"
            for step in curve.steps
        )
        for curve in curves
        if curve.steps
    ]
    return {
        "name": WORDS[kind][0],
        "figure": both(lambda width: width_figure(curves, min(width, _HALF))),
        "steps": steepest,
    }


def _zeros(subject: Subject, precision: str) -> dict[str, Any] | None:
    lines, points = zeros_lines(subject, precision), break_even_points(subject, precision)
    if not lines:
        return None
    return {"name": precision, "figure": both(lambda width: zeros_figure(lines, points, min(width, _HALF)))}


def _break_even_table(subject: Subject) -> dict[str, Any] | None:
    known = {
        (item.out_features, item.in_features, precision): item.sparsity
        for precision in subject.precisions
        for item in break_even_points(subject, precision)
    }
    if not known:
        return None
    precisions = [p for p in subject.precisions if any(key[2] == p for key in known)]
    shapes = sorted({key[:2] for key in known})
    rows = [(f"{out} x {into}", [_break_even(known.get((out, into, p))) for p in precisions]) for out, into in shapes]
    return {"precisions": precisions, "rows": rows}


def _break_even(sparsity: float | None) -> str:
    if sparsity is None:
        return "\N{EN DASH}"
    return "never" if sparsity >= 1 else percent(sparsity)


def _threads(lines: list[ThreadLine]) -> dict[str, Any]:
    counts = sorted({threads for line in lines for threads, _ in line.ms})
    known = {(line.precision, threads): ms for line in lines for threads, ms in line.ms}
    precisions = [line.precision for line in lines]
    rows = [(count, [milliseconds(known.get((precision, count))) for precision in precisions]) for count in counts]
    figure = both(lambda width: thread_figure(lines, min(width, _HALF)))
    return {"figure": figure, "precisions": precisions, "rows": rows}


def _peak(lines: list[PeakLine]) -> dict[str, Any]:
    return {
        "name": WORDS[lines[0].kind][0],
        "figure": both(lambda width: peak_figure(lines, min(width, _HALF))),
    }


def _memory(subject: Subject) -> Iterator[str]:
    """Where the caches end, at every precision."""
    model = LatencyModel().fit(subject.stock)
    bandwidths = [b for b in subject.stock.bandwidths if b.threads == subject.workload.threads]
    for precision in subject.tables(subject.stock):
        capacity, ms_per_mb = model.cache_facts(subject.workload, precision, hidden_size=subject.hidden_size)
        if ms_per_mb:
            streaming = f"; streaming reaches {bandwidths[0].gigabytes_per_second:.3g}" if bandwidths else ""
            yield (
                f"{precision}: weights beyond about {capacity:.0f} MB no longer stay in the caches; reading them adds "
                f"{1e3 * ms_per_mb:.0f} us a MB (as much as {1 / ms_per_mb:.3g} GB/s would{streaming})."
            )


def _missing(subject: Subject, sections: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(what is not known, the command that measures it)."""
    workload = subject.workload
    command = (
        f"trimfit profile --batch {workload.batch} --seq-len {workload.seq_len} --threads {workload.threads}"
        " --html profile.html"
    )
    if not sections["break_even"]:
        yield "From which share of zeros each layer gains with sparse operators", f"{command} --runtime {_SPARSE}"
    if not sections["zeros"]:
        yield "What zeros bring", command
    if not sections["peaks"]:
        yield "The machine's peak", command
    if not sections["threads"] and subject.stock.device.cores > 1:
        yield "What threads bring", command
    if not sections["runtimes"]:
        yield "Whole models by runtime and precision", command
