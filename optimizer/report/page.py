"""The page: what a deployment's records say, laid out for somebody who has to trust or distrust it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from benchmarks.drawing.templates import environment
from benchmarks.stability import instability
from optimizer.architecture import LayerShape
from optimizer.decision_record import CandidateRecord, DecisionRecord
from optimizer.manifest import Manifest, Speedup
from optimizer.report import figures, wording
from optimizer.report.doubts import doubts
from optimizer.report.evidence import PAGE_NAME, Contestant, Evidence
from optimizer.report.group_rows import GroupRow, group_rows

__all__ = ["write_report"]

_ZEROS = {"unstructured": "", "block": " in blocks of 4 inputs", "n:m": " in groups of inputs"}
_LEAST_GROUP_AXIS = 0.01  # one point: smaller differences are not blown up to full width
_FILTERS = {
    "ms": wording.milliseconds,
    "mb": wording.megabytes,
    "percent": wording.percent,
    "points": wording.points,
    "p_value": wording.p_value,
    "scientific": wording.scientific,
    "nats": lambda value: f"{value:+.2f}" if value is not None and math.isfinite(value) else "\N{EN DASH}",
    "thousands": wording.thousands,
    "pretty": lambda value: json.dumps(value, indent=2, ensure_ascii=False),
}


def write_report(folder: Path) -> Path:
    """Write `report.html` into a deployment folder from its JSON files and return its path.

    The page is one file that loads nothing. The same folder gives the same bytes, so the manifest may hold
    its sha256.
    Raises TrimfitError naming the file that is missing or broken.
    """
    folder = Path(folder)
    page = _render(Evidence.read(folder))
    target = folder / PAGE_NAME
    target.write_text(page, encoding="utf-8", newline="\n")
    return target


def _render(evidence: Evidence) -> str:
    template = environment(figures.PACKAGE).overlay()
    template.filters.update(_FILTERS)
    return template.get_template("page.html.jinja").render(_context(evidence))


def _context(evidence: Evidence) -> dict[str, Any]:
    manifest, decision = evidence.manifest, evidence.decision
    return {
        "manifest": manifest,
        "decision": decision,
        "asked_teacher": wording.asked_teacher(manifest),
        "metric": wording.metric_name(manifest),
        "provenance": wording.provenance(manifest.device.provenance),
        "doubts": doubts(evidence),
        "files": evidence.files,
        **_hero(evidence),
        **_groups(manifest),
        **_figures(manifest, decision),
        "panels": [_panel(contestant) for contestant in evidence.contestants],
        "candidates": sorted(decision.candidates, key=_standing),
        "refusals": _refusals(decision),
        "kept_words": _kept_words(manifest, decision),
        "most": _most(decision),
        "software": _software(evidence),
    }


def _refusals(decision: DecisionRecord) -> list[dict[str, str]]:
    refused = [each.refused.removeprefix(f"{each.name}: ") if each.refused else "" for each in decision.candidates]
    found = [(each.name, why) for each, why in zip(decision.candidates, refused, strict=True) if why]
    found += [(name, why) for name, _, why in (sentence.partition(": ") for sentence in decision.not_profiled)]
    return [{"name": name, "reason": reason} for name, reason in found]


@dataclass(frozen=True)
class _Bar:
    """One contestant's latency; `share` and `tail` (median to p90) are percent of the longest."""

    name: str
    role: str
    ms: float
    p90: float | None
    share: float
    tail: float


def _hero(evidence: Evidence) -> dict[str, Any]:
    manifest = evidence.manifest
    part, teacher, student = wording.scored_part(manifest)
    latencies = _latencies(evidence)
    longest = max([p90 or ms for _, _, ms, p90 in latencies] + [evidence.decision.target_ms])
    bars = [
        _Bar(
            name,
            role,
            ms,
            p90,
            round(100 * ms / longest, 2),
            round(100 * max((p90 or ms) - ms, 0) / longest, 2),
        )
        for name, role, ms, p90 in latencies
    ]
    dense = manifest.speedup_versus_strongest_dense
    return {
        "hero": _big_number(manifest.speedup),
        "dense": _big_number(dense) if dense.versus != manifest.speedup.versus else None,
        "bars": bars,
        "goal": round(100 * max(evidence.decision.target_ms, 0) / longest, 2),
        "part": {"name": part, "teacher": teacher, "student": student},
    }


def _latencies(evidence: Evidence) -> list[tuple[str, str, float, float | None]]:
    timed = [
        (each.name, each.role, each.measurement.median_ms, each.measurement.p90_ms) for each in evidence.contestants
    ]
    if timed:
        return timed
    teacher, student = evidence.manifest.teacher.latency_ms, evidence.manifest.student.latency_ms
    return [
        ("teacher", "teacher", teacher.median, teacher.p90),
        ("student", "student", student.median, student.p90),
    ]


def _big_number(speedup: Speedup) -> Mapping[str, str]:
    words = wording.speed(speedup)
    if not (wording.is_faster(speedup) or wording.is_slower(speedup)):
        return {
            "number": "",
            "word": "No significant difference",
            "than": "from",
            "interval": _interval(words),
        }
    number, word, _ = words.split(" ", 2)
    return {"number": number.replace("x", "×"), "word": word, "than": "than", "interval": _interval(words)}


def _interval(words: str) -> str:
    return words.partition("(")[2].partition(",")[0].replace("x", "×")


@dataclass(frozen=True)
class _GroupBars:
    """Bars that start at zero, in percent of the picture's width."""

    low: float
    high: float

    @property
    def zero(self) -> float:
        return self._at(0.0)

    def start(self, row: GroupRow) -> float:
        return self._at(min(row.difference, 0.0))

    def width(self, row: GroupRow) -> float:
        return round(self._at(abs(row.difference)) - self._at(0.0), 2)

    def _at(self, difference: float) -> float:
        return round(100 * (difference - self.low) / (self.high - self.low), 2)


def _groups(manifest: Manifest) -> dict[str, Any]:
    rows = group_rows(manifest.student.groups)
    differences = [row.difference for row in rows]
    low, high = min([-_LEAST_GROUP_AXIS, *differences]), max([0.0, *differences])
    return {"groups": rows, "group_bars": _GroupBars(low, high), "sets": _sets(manifest)}


def _sets(manifest: Manifest) -> list[dict[str, Any]]:
    """Every set that was scored, the headline's first."""
    if manifest.evaluation is None:
        return []
    part, _, _ = wording.scored_part(manifest)
    sets = [(part, manifest.evaluation), *manifest.also.items()]
    return [{"name": name, "score": each, "groups": group_rows(each.groups)} for name, each in sets]


def _figures(manifest: Manifest, decision: DecisionRecord) -> dict[str, Any]:
    return {
        "frontier": figures.frontier_figure(manifest, decision) if decision.points else Markup(""),
        "race": figures.race_figure(manifest, decision),
        "agreement": figures.agreement_figure(manifest, decision),
        "meetings": figures.meetings(manifest, decision),
        "survivors": figures.survivors_figure(decision),
    }


def _panel(contestant: Contestant) -> dict[str, Any]:
    measurement = contestant.measurement
    return {
        "name": contestant.name,
        "role": contestant.role,
        "median": measurement.median_ms,
        "p90": measurement.p90_ms,
        "spread": measurement.iqr / measurement.median,
        "instability": instability(measurement),
        "interrupted": measurement.interrupted_share,
        "load_ms": _ms(measurement.load_seconds),
        "first_ms": _ms(measurement.first_inference_seconds),
        "memory": measurement.model_memory_bytes,
        "file": measurement.subject.file_bytes,
        "figure": figures.samples_figure(contestant),
    }


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e3


def _software(evidence: Evidence) -> str:
    """System and versions the latencies were measured with."""
    if not evidence.contestants:
        return ""
    environment = evidence.contestants[-1].measurement.environment
    return ", ".join([environment.system, *(f"{name} {version}" for name, version in environment.packages.items())])


def _standing(candidate: CandidateRecord) -> tuple[bool, bool, int, float]:
    """The chosen one, then those that raced longest, then the rest; refused ones last."""
    last = candidate.race[-1] if candidate.race else None
    return bool(candidate.refused), not candidate.chosen, -len(candidate.race), -(last.dev if last else 0.0)


def _most(decision: DecisionRecord) -> LayerShape:
    """The widest layer anywhere: what a full bar in the tables means."""
    shapes = [each.layers for each in decision.candidates] + [each.layers for each in decision.rounds]
    layers = [layer for shape in shapes for layer in shape]
    heads = [layer.heads for layer in layers] + [layer.heads_total for layer in decision.kept]
    ffn = [layer.ffn for layer in layers] + [layer.ffn_total for layer in decision.kept]
    return LayerShape(heads=max(heads, default=0), ffn=max(ffn, default=0))


def _kept_words(manifest: Manifest, decision: DecisionRecord) -> str:
    student = manifest.student
    words = "What is crossed out or empty is gone from the file, not masked."
    if student.pattern in _ZEROS:
        zeros, which = wording.percent(student.sparsity), _ZEROS[student.pattern]
        words = f"Nothing is removed: {zeros} of the layers' weights are zero{which}, and {student.runtime} skips them."
    if gone := decision.dimensions:
        words += f" {len(gone.kept)} of {gone.total} hidden dimensions are left, in all layers alike."
    if any(layer.head_importance for layer in decision.kept):
        words += (
            " The darker, the more the teacher's answers would change without it: Fisher importance on training rows,"
            " heads and the neurons of a layer each on a scale of their own."
        )
    return words
