"""Across: what a model that is tuned for one device costs on the others, predicted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.errors import TrimfitError
from optimizer.advice.record import Advice, AdviceAcross, Elsewhere, Forecast, Kind, TargetAdvice, Way
from optimizer.advice.site import Site

__all__ = ["KINDS", "Survey", "across", "pick"]

KINDS: tuple[Kind, ...] = ("dense", "zeros")


@dataclass(frozen=True)
class Survey:
    """A site, and what is advised there."""

    site: Site
    advice: Advice


def across(surveys: Sequence[Survey]) -> AdviceAcross:
    """Put advice side by side. All is for one model and the same targets."""
    return AdviceAcross(
        advice=tuple(survey.advice for survey in surveys),
        elsewhere=tuple(_elsewhere(surveys)),
        cautions=tuple(_cautions([survey.advice for survey in surveys])),
    )


def pick(target: TargetAdvice, kind: Kind) -> Forecast | None:
    """The first way of a kind for a target; None where none reaches it.

    Ways are ranked by the weights they leave, and that says little between a neuron that is gone and a zero: so there
    is one pick without zeros, and one with.
    """
    return next((forecast for forecast in target.ways if (forecast.way.sparsity > 0) == (kind == "zeros")), None)


def _elsewhere(surveys: Sequence[Survey]) -> Iterator[Elsewhere]:
    """Every pick on every other device, target by target; not where it is that one's own pick too."""
    for number, target in enumerate(surveys[0].advice.targets):
        cases = [(kind, home, other) for kind in KINDS for home in surveys for other in surveys if other is not home]
        for kind, home, other in cases:
            mine, own = (pick(survey.advice.targets[number], kind) for survey in (home, other))
            if mine is None or (own and own.way == mine.way):
                continue
            forecast, reason = _forecast(other.site, mine.way)
            yield Elsewhere(
                speedup=target.speedup,
                kind=kind,
                tuned_for=home.advice.asked,
                on=other.advice.asked,
                way=mine.way,
                forecast=forecast,
                reason=reason,
            )


def _forecast(site: Site, way: Way) -> tuple[Forecast | None, str | None]:
    if way.runtime not in [engine.name for engine in site.engines]:
        return None, f"no {way.runtime} there: {site.no_zeros}" if site.no_zeros else f"no {way.runtime} there"
    try:
        return site.forecast(way), None
    except TrimfitError as error:  # not measured there
        return None, str(error)


def _cautions(advice: Sequence[Advice]) -> Iterator[str]:
    if len({known.device.provenance for known in advice}) > 1:
        words = ", ".join(f"{known.asked} is {known.device.provenance}" for known in advice)
        yield f"The numbers are of different provenance ({words}): differences between devices are no better than that."
    if len({known.workload for known in advice}) > 1:
        words = "; ".join(f"{known.asked} has {known.workload}" for known in advice)
        yield f"The devices are not asked for the same ({words}): a difference is not one of devices alone."
