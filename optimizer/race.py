"""Race: short distillations of the finalists, scored as they would be deployed; the worse half drops out each heat."""

from __future__ import annotations

import copy
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace

from transformers import PreTrainedModel

from optimizer.architecture import Architecture
from optimizer.artefact import deployed_score
from optimizer.candidates import Candidate
from optimizer.decision import Decision
from optimizer.decision_record import RaceHeat
from optimizer.distillation.trainer import Schedule, steps_within, train
from optimizer.narrow_teacher import NarrowTeacher
from optimizer.pruning.cutting import cut
from optimizer.pruning.patterns import Hidden, Zeros
from optimizer.pruning.zeros import set_zeros
from optimizer.pruning.zeros_training import makes_zeros, training_zeros
from optimizer.setting import Setting, learning_rates
from optimizer.surgery import SurgeryReport, compose

__all__ = ["race"]

DEV_ROWS = 1000


@dataclass
class _Runner:
    candidate: Candidate
    model: PreTrainedModel
    origin: SurgeryReport
    dev: float = 0.0


def race(setting: Setting, decision: Decision, advance: Callable[[float], None] = lambda share: None) -> Decision:
    """Let the candidates that were not refused compete; the decision comes back with its winner and the reason.

    A heat trains each runner for the same minutes at its final shape, from the teacher's weights or those that were
    given; the next heat is twice as long for those left. With one candidate there is nothing to race.
    """
    runners = [_Runner(c, *_start(setting, c)) for c in decision.candidates if not c.refused]
    if len(runners) == 1:
        only = runners[0].candidate
        reason = f"{only.name} is the only candidate that can reach the target"
        return replace(decision, winner=only, winner_model=runners[0].model, reason=reason)
    minutes = setting.effort.race_minutes / _units(len(runners))
    laps, total, heat = 0, _laps(len(runners)), 0
    finished: dict[str, Candidate] = {}
    while len(runners) > 1:
        for runner in runners:
            runner.candidate = _run(setting.seen_by(runner.candidate), runner, minutes * 2**heat, heat)
            laps += 1
            advance(laps / total)
        runners.sort(key=lambda r: (-r.dev, r.candidate.predicted.ms))
        staying = (len(runners) + 1) // 2
        for place, runner in enumerate(runners):
            runner.candidate = _mark(runner.candidate, survived=place < staying)
            finished[runner.candidate.name] = runner.candidate
        runners, heat = runners[:staying], heat + 1
    advance(1.0)
    winner = runners[0].candidate
    return replace(
        decision,
        candidates=tuple(finished.get(c.name, c) for c in decision.candidates),
        winner=winner,
        winner_model=runners[0].model,
        reason=_reason(winner, finished, min(DEV_ROWS, len(setting.dev))),
    )


def _start(setting: Setting, candidate: Candidate) -> tuple[PreTrainedModel, SurgeryReport]:
    if candidate.is_given and setting.given is not None:
        return setting.given.untrained(), setting.given.origin
    if isinstance(candidate.pattern, Hidden):
        narrow = NarrowTeacher.of(setting, candidate.pattern.size)
        model, origin = narrow.model, narrow.origin
    else:
        model = copy.deepcopy(setting.teacher)
        origin = SurgeryReport.untouched(Architecture.of(model))
    if candidate.changes_shape and candidate.plan is not None:
        model, report = cut(model, candidate.pattern, candidate.plan, setting.calibration)
        origin = compose(origin, report)
    if isinstance(candidate.pattern, Zeros) and not makes_zeros(candidate.pattern):
        set_zeros(model, candidate.pattern, setting.calibration)
    return model, origin


def _run(setting: Setting, runner: _Runner, minutes: float, heat: int) -> Candidate:
    candidate = runner.candidate
    steps = 0
    if candidate.is_trained:
        steps = _train(setting, runner, minutes, heat)
    if candidate.is_trained or not candidate.race:  # else nothing has changed since the last heat
        runner.dev = deployed_score(runner.model, setting, candidate, setting.dev.sample(DEV_ROWS, seed=setting.seed))
    done = candidate.race[-1].steps if candidate.race else 0
    return replace(candidate, race=(*candidate.race, RaceHeat(steps=done + steps, dev=runner.dev, survived=True)))


def _train(setting: Setting, runner: _Runner, minutes: float, heat: int) -> int:
    folder = setting.work / "race" / f"{runner.candidate.name.replace(' ', '-').replace('/', '-of-')}-{heat}"
    _, rate = learning_rates(runner.candidate.architecture.hidden_size)
    schedule = Schedule(0, rate, decay=True, evaluations=1, seed=setting.seed + heat, rows=setting.rows)
    origin = None if runner.candidate.is_given else runner.origin
    steps = steps_within(
        runner.model,
        setting.train,
        setting.objective,
        minutes=minutes,
        epochs=setting.effort.student_epochs,
        schedule=schedule,
        teacher=setting.teacher,
        origin=origin,
    )
    shutil.rmtree(folder, ignore_errors=True)  # of an interrupted race, whose shapes may have been others
    pattern, first = runner.candidate.pattern, heat == 0
    with training_zeros(runner.model, pattern, make=first) as callbacks:
        train(
            runner.model,
            setting.train,
            setting.dev,
            objective=setting.objective,
            schedule=replace(schedule, steps=steps, minutes=minutes, takes_last=first and makes_zeros(pattern)),
            metric=setting.task.metric,
            folder=folder,
            teacher=setting.teacher,
            origin=origin,
            callbacks=callbacks,
        )
    shutil.rmtree(folder, ignore_errors=True)
    return steps


def _mark(candidate: Candidate, *, survived: bool) -> Candidate:
    *earlier, last = candidate.race
    return replace(candidate, race=(*earlier, last.model_copy(update={"survived": survived})))


def _reason(winner: Candidate, finished: dict[str, Candidate], rows: int) -> str:
    others = sorted(
        (c for c in finished.values() if c.name != winner.name), key=lambda c: (-len(c.race), -c.race[-1].dev)
    )
    beaten = ", ".join(f"{c.name} {c.race[-1].dev:.3f} after {c.race[-1].steps} steps" for c in others)
    dev = winner.race[-1].dev
    error = math.sqrt(max(dev * (1 - dev), 0.0) / rows)  # of a share; close enough for F1
    return (
        f"{winner.name} scored {dev:.3f} on dev after {winner.race[-1].steps} steps; {beaten} "
        f"(one standard error is {error:.3f})"
    )


def _laps(runners: int) -> int:
    return 0 if runners <= 1 else runners + _laps((runners + 1) // 2)


def _units(runners: int, weight: int = 1) -> int:
    return 0 if runners <= 1 else runners * weight + _units((runners + 1) // 2, 2 * weight)
