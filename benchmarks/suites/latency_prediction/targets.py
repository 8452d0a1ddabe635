"""Target: what is asked of predictions, and whether what was found meets it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["TARGETS", "Target", "Verdict", "accuracy_met", "verdicts"]

WITHIN_5, WITHIN_10, BIAS, REGRET = 90.0, 100.0, 1.5, 2.0  # percent

Found = Mapping[str, Any]


@dataclass(frozen=True)
class Target:
    """What is asked: a value of the study's result, None while it is not known, and the test it must pass."""

    what: str
    value: Callable[[Found], float | None]
    passes: Callable[[float], bool]


@dataclass(frozen=True)
class Verdict:
    """A target with what was found, in percent; None where nothing was measured."""

    target: Target
    found: float | None

    @property
    def met(self) -> bool | None:
        """None where nothing was measured."""
        return None if self.found is None else self.target.passes(self.found)

    def as_json(self) -> dict[str, Any]:
        """What goes into the file."""
        return {"what": self.target.what, "found_percent": self.found, "met": self.met}


TARGETS = (
    Target("at least 90 % of the models within 5 %", lambda x: x["within_5_percent"], lambda v: v >= WITHIN_5),
    Target("all models within 10 %", lambda x: x["within_10_percent"], lambda v: v >= WITHIN_10),
    Target("mean signed error under 1.5 %", lambda x: x["bias_percent"], lambda v: abs(v) < BIAS),
    Target(
        "the predicted best candidate within 2 % of the truly fastest",
        lambda x: x["ranking"]["regret_percent"],
        lambda v: v <= REGRET,
    ),
)


def verdicts(found: Found) -> list[Verdict]:
    """Hold a study's result against every target."""
    return [Verdict(target, target.value(found)) for target in TARGETS]


def accuracy_met(accuracy: Found) -> bool | None:
    """Whether a part of the models (one of `accuracy.summary`'s) meets the first three targets by itself."""
    met = [Verdict(target, target.value(accuracy)).met for target in TARGETS[:3]]
    return None if None in met else all(met)
