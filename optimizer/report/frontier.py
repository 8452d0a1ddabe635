"""Accuracy against latency: every model that was scored, as a point."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from benchmarks.drawing import axes, svg
from benchmarks.drawing.labels import Box, Label, place
from benchmarks.drawing.scale import Scale, linear, logarithmic
from optimizer.decision_record import ScoredPoint
from optimizer.report.wording import milliseconds, percent

__all__ = ["frontier"]

_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 16, 38, 66
_IMPORTANCE = ("student", "teacher", "baseline", "candidate", "round")
_LABELLED = ("student", "teacher", "baseline", "candidate")
_LEAST_RANGE = 0.02  # of the score: two points of accuracy fill the height at most


def frontier(
    points: Sequence[ScoredPoint],
    target_ms: float | None,
    *,
    metric: str,
    width: int = 720,
    height: int = 420,
) -> Markup:
    """The figure in pixels. Filled points have a measured latency, hollow ones a predicted one.

    Latency is logarithmic, so equal speed-ups are equal distances. Points without a latency are left out.
    """
    shown = sorted((point for point in points if point.ms > 0), key=_importance)
    if not shown:
        return Markup("")
    aimed_at = target_ms or 0.0
    latencies = [point.ms for point in shown] + ([aimed_at] if aimed_at > 0 else [])
    x = logarithmic(latencies, _LEFT, width - _RIGHT)
    y = linear((point.dev for point in shown), height - _BOTTOM, _TOP, margin=0.1, least=_LEAST_RANGE)
    aim = _target_label(aimed_at, x, y) if aimed_at > 0 else None
    return svg.drawing(
        width, height, f"{metric} on dev against latency of {len(shown)} models",
        axes.vertical(y, _LEFT, width - _RIGHT, f"{metric} on dev", lambda value: f"{100 * value:g} %"),
        axes.horizontal(x, height - _BOTTOM, "latency, ms (logarithmic): left is faster", "{:g}".format),
        _target(aimed_at, aim, x, y) if aim else None,
        _way_down(shown, x, y),
        *(_mark(point, x, y) for point in reversed(shown)),
        *_labels(shown, x, y, width, height - _BOTTOM, [aim.box] if aim else []),
        _legend(height - 12, width),
    )  # fmt: skip


def _importance(point: ScoredPoint) -> int:
    return _IMPORTANCE.index(point.kind) if point.kind in _IMPORTANCE else len(_IMPORTANCE)


def _target_label(target_ms: float, x: Scale, y: Scale) -> Label:
    at, near_right_end = x(target_ms), x(target_ms) > x.start + 0.7 * (x.end - x.start)
    words = f"aimed at {milliseconds(target_ms)}"
    return Label(words, at + (-6 if near_right_end else 6), y.end, "end" if near_right_end else "start")


def _target(target_ms: float, label: Label, x: Scale, y: Scale) -> Markup:
    at, top, bottom = x(target_ms), y.end - 8, y.start
    zone = svg.rect(x.start, top, at - x.start, bottom - top, "target-zone")
    words = svg.text(label.x, label.y, label.words, "target-name", label.anchor)
    return svg.group([zone, svg.line(at, top, at, bottom, "target-line"), words])


def _way_down(points: Sequence[ScoredPoint], x: Scale, y: Scale) -> Markup | None:
    rounds = [(x(point.ms), y(point.dev)) for point in points if point.kind == "round"]
    return svg.polyline(rounds, "way-down") if len(rounds) > 1 else None


def _mark(point: ScoredPoint, x: Scale, y: Scale) -> Markup:
    radius = {"student": 7.0, "round": 3.5}.get(point.kind, 5.5)
    hollow = "" if point.latency_is == "measured" else " hollow"
    story = f"{point.name}: {percent(point.dev)} on dev, {milliseconds(point.ms)} {point.latency_is}"
    return svg.circle(x(point.ms), y(point.dev), radius, f"point {_css(point.kind)}{hollow}", story)


def _labels(
    points: Sequence[ScoredPoint], x: Scale, y: Scale, width: int, bottom: int, blocked: Sequence[Box]
) -> list[Markup]:
    places = [(x(point.ms), y(point.dev)) for point in points]
    words = [point.name if point.kind in _LABELLED else None for point in points]
    found = place(places, words, width, bottom, blocked)
    return [
        svg.text(label.x, label.y, label.words, f"label {_css(point.kind)}-name", label.anchor)
        for point, label in zip(points, found, strict=True)
        if label is not None
    ]


def _legend(y: int, width: int) -> Markup:
    entries = (
        ("point key", "measured"),
        ("point key hollow", "predicted"),
        ("point round hollow", "compression round"),
    )
    parts: list[Markup] = []
    for index, (class_, words) in enumerate(entries):
        left = (6 if width < 500 else _LEFT + 6) + index * 104
        parts += [svg.circle(left, y - 4, 4.5, class_), svg.text(left + 10, y, words, "tick")]
    return svg.group(parts)


def _css(kind: str) -> str:
    return kind if kind in _IMPORTANCE else "candidate"
