"""Recommendation: for a wanted speed-up the gentlest way of each kind, and why the other kinds cannot reach it."""

from __future__ import annotations

from collections.abc import Sequence

from optimizer import refusals
from optimizer.advice.directions import Direction, directions
from optimizer.advice.record import Forecast, TargetAdvice, Way
from optimizer.advice.site import Site
from optimizer.judgement import SAFETY

__all__ = ["recommend"]

TIE = 1e-9  # shares of weights that differ by less are the same


def recommend(site: Site, speedup: float) -> TargetAdvice:
    """The ways that are predicted to make the model `speedup` times faster, those first that leave most weights.

    That order is all that can be said without data. A little more than the target is aimed at, as when it is cut. Where
    nothing was measured int8, alone or with structured cuts, comes before all else.
    """
    wanted_ms = site.teacher.ms / speedup
    aimed_ms = wanted_ms * SAFETY
    found: list[tuple[Direction, Forecast]] = []
    refused: list[str] = []
    for direction in directions(site):
        if site.forecast(direction.base).ms <= aimed_ms:
            continue  # nothing more has to be cut
        way = _gentlest(site, direction, aimed_ms)
        if way:
            found.append((direction, way))
        elif direction.ways and not direction.combined:
            refused.append(_refusal(site, direction, aimed_ms, speedup))
    return TargetAdvice(
        speedup=speedup,
        wanted_ms=wanted_ms,
        aimed_ms=aimed_ms,
        ways=tuple(sorted(_worth_combining(found), key=lambda forecast: _order(site, forecast))),
        refused=tuple(refused),
    )


def _order(site: Site, forecast: Forecast) -> tuple[bool, float, float]:
    """On a device nobody measured: lower precision and fewer weights gain in any engine, all else depends on it."""
    return not (site.measured or forecast.way.precision.startswith("int8")), *_rank(forecast)


def _rank(forecast: Forecast) -> tuple[float, float]:
    return -forecast.weights_left, forecast.ms


def _worth_combining(found: Sequence[tuple[Direction, Forecast]]) -> list[Forecast]:
    """All single directions; of the combined ones with a pattern at a precision the best, if better than those."""
    chosen = {_kind(f.way): f for d, f in sorted(found, key=lambda x: _rank(x[1]), reverse=True) if d.combined}
    single = [forecast for direction, forecast in found if not direction.combined]
    for forecast in single:
        kind = _kind(forecast.way)
        if kind in chosen and chosen[kind].weights_left <= forecast.weights_left + TIE:
            del chosen[kind]
    return [*single, *chosen.values()]


def _kind(way: Way) -> tuple[str, str]:
    return way.precision, way.pattern


def _gentlest(site: Site, direction: Direction, most_ms: float) -> Forecast | None:
    forecasts = (site.forecast(way) for way in direction.ways)
    return next((forecast for forecast in forecasts if forecast.ms <= most_ms), None)


def _refusal(site: Site, direction: Direction, wanted_ms: float, speedup: float) -> str:
    hardest = site.forecast(direction.ways[-1])
    if not site.measured:
        most = hardest.speedup
        return refusals.too_little_at_most(hardest.way.name, (most.value, most.low, most.high), speedup)
    way, wanted = hardest.way, f"{wanted_ms:.2f} ms wanted"
    if way.sparsity:
        prices = site.predictions(way.precision, site.engine(way.runtime))
        faster = prices.zeros_speedup(way.pattern, way.sparsity)
        return refusals.too_few_zeros(way.name, faster, way.runtime, hardest.ms, wanted_ms)
    if way.layers == site.architecture.layers:
        reached = f"{hardest.speedup.value:.2f}x predicted ({hardest.ms:.2f} ms)"
        return f"{way.name}: {reached}, {wanted}: lower precision alone is not enough"
    return refusals.too_slow_at_its_smallest(direction.name, hardest.ms, wanted)
