"""Session: one group from its profile to its last measurement."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import Any

from benchmarks import Measurement, instability, read_environment
from benchmarks.near_cores import near
from benchmarks.suites.latency_prediction.accuracy import error_percent
from benchmarks.suites.latency_prediction.clock import clock, near_ms
from benchmarks.suites.latency_prediction.group import Group
from benchmarks.suites.latency_prediction.held_out import held_out
from benchmarks.suites.latency_prediction.model import Model
from benchmarks.suites.latency_prediction.predictor import Predictor, Profiles
from benchmarks.suites.latency_prediction.ranking import BAND, candidates, random_regret, regret
from benchmarks.suites.latency_prediction.study import Study
from benchmarks.suites.latency_prediction.timing import RANKED, time_models
from hardware_profiles.device import device_in_force
from hardware_profiles.latency_model import Prediction
from hardware_profiles.profile_request import Effort
from hardware_profiles.runtimes import Runtime
from hardware_profiles.steadiness import profile_instability
from optimizer.progress import Progress

__all__ = ["Session"]

COPIES = 3  # of the full model in every run: the noise of its time is in every error, that of another model in one
TARGET_SHARE = 0.5  # of the full int8 model's time: all kinds of models reach it
DIGITS = 5


@dataclass(frozen=True)
class Session:
    """Measures what a study lacks of a group: its profile, the full model, the held-out models, the candidates.

    `draw` gives the held-out models of a group and a seed, `timer` measures models as `time_models` does.
    """

    study: Study
    group: Group
    progress: Progress
    budget: Effort = "default"
    quick: bool = False
    seed: int = 0
    draw: Callable[[Group, int], Sequence[Model]] = held_out
    timer: Callable[..., dict[str, Measurement]] | None = None

    @property
    def missing(self) -> dict[int, Model]:
        """Held-out models that are not measured, by number."""
        models = enumerate(self.draw(self.group, self.seed))
        return {number: model for number, model in models if not self.study.has_model(self.group.label, number)}

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return not self.missing and not self._ranks

    @property
    def _ranks(self) -> bool:
        return self.group.candidates > 0 and not self.study.has_ranking(self.group.label)

    def run(self) -> None:
        """Do what is left."""
        for precision in self._predictor.stock.profile.precisions:
            self._hold_against(precision)
        if self._ranks:
            self._rank()

    # -- what predicts --------------------------------------------------------------------------------------

    @cached_property
    def _profiles(self) -> Profiles:
        folder = self.study.path.with_suffix(".profiles") / self.group.label.replace(", ", "-").replace(" ", "-")
        return Profiles.measured(self.group, device_in_force(), self.budget, folder, self.progress)

    @cached_property
    def _full_ms(self) -> Mapping[str, float]:
        """The full model's milliseconds by precision, timed right after the profile."""
        if self.group.label not in self.study.groups:
            start = time.monotonic()
            profiles = self._profiles
            profiled = time.monotonic() - start
            runtime = profiles.stock.runtime
            precisions = profiles.stock.precisions
            models = {name: of for precision in precisions for name, of in self._copies(precision, runtime).items()}
            found = self._timed(models, f"Timing the full model, {self.group.label}")
            options = profiles.stock.runtime.options()
            both = filter(None, (profiles.stock, profiles.sparse))
            about = {
                "profile_seconds": round(profiled, 1),
                "full_ms": {precision: _rounded(_full_ms(found, precision)) for precision in precisions},
                "options": options,
                "unsteady": [doubt for profile in both for doubt in profile_instability(profile)],
                "load": read_environment().before.load,
            }
            self.study.add_group(self.group.label, about)
        full: dict[str, float] = self.study.groups[self.group.label]["full_ms"]
        return full

    @cached_property
    def _predictor(self) -> Predictor:
        full_ms = self._full_ms  # first: it times the profile
        return Predictor.of(self.group, self._profiles, full_ms)

    # -- held-out models ------------------------------------------------------------------------------------

    def _hold_against(self, precision: str) -> None:
        """Predict the models of a precision, then build them and time them in turns with the full model."""
        mine = {number: model for number, model in self.missing.items() if model.precision == precision}
        mine = {number: model for number, model in mine.items() if self._can_run(model)}
        if not mine:
            return
        predicted = {number: self._predictor.predict(model) for number, model in mine.items()}
        alone = Predictor.of(self.group, self._profiles)
        alone_ms = {number: alone.predict(model).ms for number, model in mine.items()}
        models = self._copies(precision, self._predictor.stock.runtime)
        models |= {str(number): (model, self._predictor.runtime(model)) for number, model in mine.items()}
        found = self._timed(models, f"Timing {len(mine)} held-out {precision} models, {self.group.label}")
        full = [found[_copy(precision, copy)] for copy in range(COPIES)]
        clocks = {number: clock(found[str(number)], full, self._full_ms[precision]) for number in mine}
        self.study.add_models(
            {
                "group": self.group.label,
                "number": number,
                **model.as_json(),
                "workload": self.group.workload.model_dump(),
                **_compared(predicted[number], near_ms(found[str(number)]), clocks[number], alone_ms[number]),
                **_measured(found[str(number)]),
            }
            for number, model in mine.items()
        )

    def _can_run(self, model: Model) -> bool:
        if not (known := self._predictor.knows(model)):
            self.progress.say(f"left out: {model} ({model.runtime} is not there)")
        return known

    # -- ranking --------------------------------------------------------------------------------------------

    def _rank(self) -> None:
        """Choose candidates by their predictions alone, then time all of them in turns."""
        predictor = self._predictor
        target_ms = TARGET_SHARE * predictor.predict(self._full("int8")).ms
        chosen = candidates(self.group, self._predicted_ms, target_ms, self.seed)
        if len(chosen) < 2:
            self.progress.say(f"no ranking: {len(chosen)} candidates near {target_ms:.2f} ms")
            return
        models = {str(number): (model, predictor.runtime(model)) for number, model in enumerate(chosen)}
        title = f"Timing {len(chosen)} candidates near {target_ms:.2f} ms, {self.group.label}"
        found = self._timed(models, title, each=RANKED)
        self.study.add_ranking(self._ranking(chosen, [found[name] for name in models], target_ms))

    def _predicted_ms(self, model: Model) -> float:
        return self._predictor.predict(model).ms if self._predictor.knows(model) else math.inf

    def _ranking(self, chosen: Sequence[Model], found: Sequence[Measurement], target_ms: float) -> dict[str, Any]:
        predicted, measured = [self._predicted_ms(model) for model in chosen], [near_ms(m) for m in found]
        rows = [
            {**model.as_json(), "predicted_ms": _rounded(ms), "measured_ms": _rounded(near_ms(m)), **_measured(m)}
            for model, ms, m in zip(chosen, predicted, found, strict=True)
        ]
        return {
            "group": self.group.label,
            "target_ms": _rounded(target_ms),
            "band_percent": 100 * BAND,
            "regret_percent": round(100 * regret(predicted, measured), 3),
            "random_regret_percent": round(100 * random_regret(measured), 3),
            "candidates": rows,
        }

    # -- timing ---------------------------------------------------------------------------------------------

    def _full(self, precision: str) -> Model:
        return Model(self.group.full, precision)

    def _copies(self, precision: str, runtime: Runtime) -> dict[str, tuple[Model, Runtime]]:
        return {_copy(precision, number): (self._full(precision), runtime) for number in range(COPIES)}

    def _timed(self, models: Mapping[str, Any], title: str, **how: Any) -> dict[str, Measurement]:
        with self.progress.step(title) as advance:
            return (self.timer or time_models)(
                models, self.group.workload, seed=self.seed, quick=self.quick, advance=advance, **how
            )


def _copy(precision: str, number: int) -> str:
    """Name of a copy of the full model among those that are timed."""
    return f"full model {precision} {number}"


def _full_ms(found: Mapping[str, Measurement], precision: str) -> float:
    return median(near_ms(found[_copy(precision, number)]) for number in range(COPIES))


def _compared(prediction: Prediction, measured_ms: float, clock: float, alone_ms: float) -> dict[str, float]:
    """A prediction beside what was measured; `measured_ms` is as it was timed, whatever the clock."""
    return {
        "predicted_ms": _rounded(prediction.ms),
        "low_ms": _rounded(prediction.low_ms),
        "high_ms": _rounded(prediction.high_ms),
        "measured_ms": _rounded(measured_ms),
        "clock": _rounded(clock),
        "error_percent": round(error_percent(prediction.ms * clock, measured_ms), 3),
        "error_without_clock_percent": round(error_percent(prediction.ms, measured_ms), 3),
        "profile_alone_ms": _rounded(alone_ms),
        "error_of_profile_alone_percent": round(error_percent(alone_ms, measured_ms), 3),
    }


def _measured(m: Measurement) -> dict[str, Any]:
    low, high = m.interval.low * 1e3, m.interval.high * 1e3
    return {
        "measured_interval_ms": [_rounded(low), _rounded(high)] if math.isfinite(high - low) else None,
        "median_of_all_ms": _rounded(m.median_ms),
        "near_percent": round(100 * near(m.seconds, m.subject.workload.threads).size / max(1, m.seconds.size), 1),
        "calls": len(m.seconds),
        "unstable": instability(m),
    }


def _rounded(ms: float) -> float:
    return round(ms, DIGITS)
