"""The report's figures, each wide for a desk and narrow for a phone."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

from benchmarks.drawing import svg
from benchmarks.drawing.responsive import NARROW, WIDE, both
from benchmarks.drawing.templates import environment
from benchmarks.measurement import Measurement
from optimizer.decision_record import DecisionRecord
from optimizer.manifest import Manifest
from optimizer.report.agreement import Meeting, agreement
from optimizer.report.evidence import Contestant
from optimizer.report.frontier import frontier
from optimizer.report.race import race
from optimizer.report.samples import samples
from optimizer.report.survivors import survivors
from optimizer.report.wording import metric_name, milliseconds, percent

__all__ = [
    "PACKAGE",
    "agreement_figure",
    "frontier_figure",
    "meetings",
    "picture",
    "race_figure",
    "samples_figure",
    "survivors_figure",
]

PACKAGE = "optimizer.report"
README_WIDTH = 760


def picture(manifest: Manifest, decision: DecisionRecord) -> str:
    """Accuracy against latency as an SVG file of its own (light and dark), e.g. for a README."""
    inner = frontier(decision.points, decision.target_ms, metric=metric_name(manifest), width=README_WIDTH)
    style = Markup("<style>{}</style>").format(Markup(environment(PACKAGE).get_template("figure.css.jinja").render()))
    paper = svg.rect(0, 0, README_WIDTH, 420, "paper")
    head, _, rest = inner.partition(">")
    return str(head + Markup(">") + style + paper + rest) + "\n"


def frontier_figure(manifest: Manifest, decision: DecisionRecord) -> Markup:
    """Accuracy against latency."""
    metric = metric_name(manifest)
    heights = {WIDE: 440, NARROW: 360}
    return both(
        lambda width: frontier(decision.points, decision.target_ms, metric=metric, width=width, height=heights[width])
    )


def race_figure(manifest: Manifest, decision: DecisionRecord) -> Markup:
    """The race of the finalists."""
    return both(lambda width: race(decision.candidates, metric=metric_name(manifest), width=width))


def agreement_figure(manifest: Manifest, decision: DecisionRecord) -> Markup:
    """Predicted against measured latency."""
    return both(lambda width: agreement(meetings(manifest, decision), width=width))


def survivors_figure(decision: DecisionRecord) -> Markup:
    """What lives on of the teacher, and what it was worth."""
    return both(lambda width: survivors(decision.kept, width=width))


def samples_figure(contestant: Contestant) -> Markup:
    """Every timed inference of one contestant; one figure for each length of its workload."""
    parts, role = contestant.measurement.parts, contestant.role
    if len(parts) == 1:
        return _samples(contestant.measurement, role)
    figures = []
    for part, share in parts:
        words = f"{part.subject.workload.seq_len} tokens, {percent(share)} of the calls: median"
        figures.append(Markup("<p>{} {}</p>{}").format(words, milliseconds(part.median_ms), _samples(part, role)))
    return Markup("\n").join(figures)


def _samples(measurement: Measurement, role: str) -> Markup:
    timed = measurement.timed
    return samples(
        np.array(measurement.samples.seconds)[timed] * 1e3,
        np.array(measurement.samples.launch)[timed],
        measurement.counted()[timed],
        median=measurement.median_ms,
        p90=measurement.p90_ms,
        role=role,
    )


def meetings(manifest: Manifest, decision: DecisionRecord) -> list[Meeting]:
    """Every time the finished student met the clock; the last is what is deployed."""
    found = [
        Meeting(f"attempt {number}", each.predicted_ms, each.measured_ms)
        for number, each in enumerate(decision.corrections, start=1)
    ]
    latency = manifest.student.latency_ms
    if latency.predicted is not None and not _is_last(found, latency.predicted, latency.median):
        found.append(Meeting("deployed", latency.predicted, latency.median))
    return found


def _is_last(found: list[Meeting], predicted: float, measured: float) -> bool:
    return bool(found) and np.allclose(
        (found[-1].predicted_ms, found[-1].measured_ms), (predicted, measured), rtol=1e-3
    )
