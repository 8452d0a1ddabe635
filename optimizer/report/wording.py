"""Numbers as people read them: with a unit, with no more digits than are known, and with their doubt."""

from __future__ import annotations

import math

from benchmarks.drawing.numbers import milliseconds, percent
from hardware_profiles.provenance import provenance_in_words as provenance
from optimizer.manifest import Manifest, Speedup

__all__ = [
    "asked_teacher",
    "conditions",
    "digits",
    "headline",
    "megabytes",
    "milliseconds",
    "p_value",
    "percent",
    "points",
    "provenance",
    "scientific",
    "scored_part",
    "speed",
    "thousands",
]


def headline(manifest: Manifest) -> str:
    """The result in one sentence, with its conditions and its doubt.

    "3.41x faster (3.38 to 3.44, 95 %) than teacher fp32 onnxruntime-cpu on AMD EPYC, batch 1, 64 tokens,
    1 thread; accuracy 90.1 % -> 89.6 % on test".
    """
    part, teacher, student = scored_part(manifest)
    scores = f"{metric_name(manifest)} {percent(teacher)} -> {percent(student)} on {part}"
    if manifest.black_box and part in manifest.black_box.labelled:
        scores += f", labelled by {manifest.black_box.name}"
    return f"{speed(manifest.speedup)} {_than(manifest.speedup)} on {conditions(manifest)}; {scores}"


def asked_teacher(manifest: Manifest) -> str | None:
    """How good the teacher is that was only asked, and how far model and student agree with it; None without one.

    "Asked: gpt-x at https://...: accuracy 91 % on test; the same answers as its: model 90.2 %, student 89.9 % of 872".
    """
    facts = manifest.black_box
    if facts is None or facts.agreement_teacher is None or facts.agreement_student is None:
        return None
    part = scored_part(manifest)[0]
    own = {"dev": facts.dev, "test": facts.test}[part]
    score = f"{metric_name(manifest)} {percent(own)} on {part}; " if own is not None else ""
    model, student = percent(facts.agreement_teacher), percent(facts.agreement_student)
    return f"Asked: {facts.name}: {score}the same answers as its: model {model}, student {student} of {facts.rows}"


def conditions(manifest: Manifest) -> str:
    """Where latencies hold: "AMD EPYC, batch 1, 64 tokens, 1 thread"; says so when not measured there."""
    doubt = manifest.device.provenance
    where = manifest.device.name if doubt == "measured_device" else f"{manifest.device.name} ({provenance(doubt)})"
    return f"{where}, {manifest.workload}"


def metric_name(manifest: Manifest) -> str:
    """The metric's name in words: "macro f1"."""
    return manifest.teacher.metric.replace("_", " ")


def scored_part(manifest: Manifest) -> tuple[str, float, float]:
    """The part of the data that the headline quotes, with both scores: test where both have one, else dev."""
    teacher, student = manifest.teacher, manifest.student
    if teacher.test is None or student.test is None:
        return "dev", teacher.dev, student.dev
    return "test", teacher.test, student.test


def speed(speedup: Speedup) -> str:
    """ "3.41x faster (3.38 to 3.44, 95 %)", "1.20x slower (...)" or "no significant difference in speed"."""
    ratios = (speedup.median, speedup.low, speedup.high)
    if is_slower(speedup):
        ratios = (1 / speedup.median, 1 / speedup.high, 1 / speedup.low)
    shown = digits((ratios[2] - ratios[1]) / 2)
    median, low, high = (f"{ratio:.{shown}f}" for ratio in ratios)
    if not is_faster(speedup) and not is_slower(speedup):
        return f"no significant difference in speed ({low}x to {high}x, 95 %)"
    return f"{median}x {'faster' if is_faster(speedup) else 'slower'} ({low} to {high}, 95 %)"


def is_faster(speedup: Speedup) -> bool:
    """Whether the whole interval says so."""
    return speedup.low > 1


def is_slower(speedup: Speedup) -> bool:
    """Whether the whole interval says so."""
    return speedup.high < 1


def digits(half_width: float) -> int:
    """Decimals worth printing for a number known to +-`half_width`: 0 to 2; 2 where it is exact."""
    if half_width <= 0:
        return 2
    return min(max(math.ceil(-math.log10(half_width)), 0), 2)


def points(difference: float) -> str:
    """A difference of shares in percentage points with its sign: "-0.5", "+1.2", "0.0"."""
    rounded = round(100 * difference, 1)
    return f"{rounded:+.1f}".replace("-", "\N{MINUS SIGN}") if rounded else "0.0"


def p_value(p: float | None) -> str:
    """A probability as "0.03", "0.4" or "< 0.001"; a dash for None."""
    if p is None:
        return "\N{EN DASH}"
    return "< 0.001" if p < 0.001 else f"{p:.1g}" if p < 0.995 else "1"


def megabytes(count: float | None) -> str:
    """Bytes as "90.4 MB", "1.3 kB" or "87 bytes" (powers of 1000); a dash for None."""
    if count is None:
        return "\N{EN DASH}"
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} bytes"


def scientific(value: float) -> str:
    """ "4.1e-6"; "0" for exactly nothing."""
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def thousands(count: int) -> str:
    """A count as "22.7 M", "9.1 k" or "512"."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return str(count)


def _than(speedup: Speedup) -> str:
    return f"than {speedup.versus}" if is_faster(speedup) or is_slower(speedup) else f"from {speedup.versus}"
