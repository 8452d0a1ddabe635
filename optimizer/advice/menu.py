"""Menu: a few representative ways of every kind, alone and together, and which of them cannot pay on a device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.errors import TrimfitError
from optimizer import refusals
from optimizer.advice.directions import HALF, halves, narrow, zeros_pay
from optimizer.advice.record import Forecast, Way
from optimizer.advice.site import Site
from optimizer.judgement import WORTHWHILE

__all__ = ["cannot_pay", "menu"]

SHOWN = (0.8, 0.9, 0.95)
TOGETHER = 0.9


def menu(site: Site) -> tuple[Way, ...]:
    """Half the layers, half the widths, both, 80 to 95 % zeros and some of these together, at every precision."""
    return tuple(way for precision in site.precisions for way in _at(site, precision))


def cannot_pay(site: Site, forecasts: Sequence[Forecast]) -> tuple[str, ...]:
    """Why some ways are not worth trying on this device, whatever the target."""
    return (
        *_without_operators(site),
        *site.stock.not_profiled,
        *(sentence for precision in site.precisions for sentence in _zeros(site, precision)),
        *_too_little(forecasts),
        *_beaten(forecasts),
    )


def _at(site: Site, precision: str) -> Iterator[Way]:
    whole, halved = site.dense(precision), halves(site, precision)
    if precision != site.precisions[0]:
        yield whole
    yield from halved
    if len(halved) > 1:
        yield narrow(site, halved[0], HALF)
    known = _known(site, precision)
    yield from (site.with_zeros(whole, sparsity) for sparsity in known)
    if TOGETHER in known and zeros_pay(site, precision):
        yield from (site.with_zeros(way, TOGETHER) for way in halved)


def _known(site: Site, precision: str) -> tuple[float, ...]:
    """The sparsities of the menu whose times are known."""
    if not site.skips_zeros(precision):
        return ()
    most = site.predictions(precision, site.sparse).sparsity_range(site.skipped(precision))[1]
    return tuple(sparsity for sparsity in SHOWN if sparsity <= most + 1e-9)


def _without_operators(site: Site) -> Iterator[str]:
    if site.no_zeros:
        yield f"zeros are not tried with sparse operators: {site.no_zeros}"


def _zeros(site: Site, precision: str) -> Iterator[str]:
    """Zeros at a precision, on the stock runtime and on the one that skips them."""
    stock = site.predictions(precision)
    try:
        speedup = stock.zeros_speedup("unstructured", TOGETHER)
    except TrimfitError:  # they were not measured
        speedup = WORTHWHILE
    if speedup < WORTHWHILE:
        yield refusals.multiplied(f"unstructured {100 * TOGETHER:.0f} % {precision}", speedup, site.stock.name)
    if site.sparse and site.skips_zeros(precision) and not zeros_pay(site, precision):
        prices, pattern = site.predictions(precision, site.sparse), site.skipped(precision)
        most = prices.sparsity_range(pattern)[1]
        name = f"{pattern} {100 * most:.0f} % {precision} with sparse operators"
        yield refusals.not_paying(name, prices.zeros_speedup(pattern, most), site.sparse.name, precision)


def _too_little(forecasts: Sequence[Forecast]) -> Iterator[str]:
    """Ways without zeros that are hardly faster than the teacher."""
    for forecast in forecasts:
        way, speedup = forecast.way, forecast.speedup.value
        if speedup < WORTHWHILE and not way.sparsity:
            yield f"{way.name}: {speedup:.2f}x predicted on {way.runtime}: too little for what it loses"


def _beaten(forecasts: Sequence[Forecast]) -> Iterator[str]:
    """Ways that remove something and are no faster than one that removes nothing."""
    gentle = [forecast for forecast in forecasts if forecast.weights_left == 1]
    if not gentle:
        return
    best = max(gentle, key=lambda forecast: forecast.speedup.value)
    beaten = [f"{f.way.name} ({f.speedup.value:.2f}x)" for f in forecasts if _loses_to(f, best)]
    if beaten:
        yield f"{best.way.name} brings {best.speedup.value:.2f}x and removes nothing, more than {'; '.join(beaten)}"


def _loses_to(forecast: Forecast, other: Forecast) -> bool:
    return forecast.weights_left < 1 and forecast.speedup.value <= other.speedup.value
