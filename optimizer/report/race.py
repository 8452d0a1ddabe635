"""The race of the finalists: dev score after each heat, one line each."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from benchmarks.drawing import axes, svg
from benchmarks.drawing.labels import place
from benchmarks.drawing.scale import Scale, linear
from optimizer.decision_record import CandidateRecord, RaceHeat
from optimizer.report.wording import percent

__all__ = ["race"]

_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 16, 38, 46
_LEAST_RANGE = 0.02


def race(candidates: Sequence[CandidateRecord], *, metric: str, width: int = 720, height: int = 300) -> Markup:
    """The figure in pixels; empty when nobody raced. A hollow point is where a candidate was dropped."""
    runners = sorted((c for c in candidates if c.race), key=lambda c: (not c.chosen, -c.race[-1].dev))
    if not runners:
        return Markup("")
    heats = [heat for runner in runners for heat in runner.race]
    x = linear([0, *(heat.steps for heat in heats)], _LEFT + 8, width - _RIGHT - min(150, width // 3), margin=0)
    y = linear((heat.dev for heat in heats), height - _BOTTOM, _TOP, margin=0.1, least=_LEAST_RANGE)
    ends = [(x(runner.race[-1].steps), y(runner.race[-1].dev)) for runner in runners]
    names = place(ends, [runner.name for runner in runners], width, height - _BOTTOM)
    return svg.drawing(
        width, height, f"{metric} on dev of {len(runners)} finalists after each heat",
        axes.vertical(y, _LEFT, width - _RIGHT, f"{metric} on dev", lambda value: f"{100 * value:g} %"),
        axes.horizontal(x, height - _BOTTOM, "optimizer steps", lambda value: f"{value:g}", 4),
        *(_track(runner, x, y) for runner in reversed(runners)),
        *(svg.text(name.x, name.y, name.words, _name_class(runner), name.anchor)
          for runner, name in zip(runners, names, strict=True) if name),
    )  # fmt: skip


def _track(runner: CandidateRecord, x: Scale, y: Scale) -> Markup:
    places = [(x(heat.steps), y(heat.dev)) for heat in runner.race]
    role = "student" if runner.chosen else "candidate"
    marks = [_heat(runner.name, heat, place, role) for heat, place in zip(runner.race, places, strict=True)]
    return svg.group([svg.polyline(places, f"track {role}-track"), *marks])


def _heat(name: str, heat: RaceHeat, place: tuple[float, float], role: str) -> Markup:
    fate = "kept" if heat.survived else "dropped"
    story = f"{name}: {percent(heat.dev)} on dev after {heat.steps} steps, {fate}"
    return svg.circle(*place, 4.5, f"point {role}{'' if heat.survived else ' hollow'}", story)


def _name_class(runner: CandidateRecord) -> str:
    return f"label {'student' if runner.chosen else 'candidate'}-name"
