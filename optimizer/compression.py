"""Compression: the winner made for real, cut gradually while it is distilled, then recovered at its final shape."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from transformers import PreTrainedModel

from optimizer import files
from optimizer.architecture import Architecture
from optimizer.candidates import Candidate
from optimizer.decision import look_at
from optimizer.decision_record import CompressionRound
from optimizer.distillation.trainer import Schedule, steps_within, train
from optimizer.judgement import SAFETY, fitting_plan
from optimizer.model_folder import load, save
from optimizer.pruning.cutting import cut
from optimizer.pruning.patterns import View, Zeros
from optimizer.pruning.zeros import KeepZeros, set_zeros
from optimizer.setting import Setting, learning_rates
from optimizer.surgery import SurgeryReport, compose

__all__ = ["Student", "budgets", "compress", "cut_and_train", "distil_given", "predicted_ms", "recover", "untouched"]


@dataclass(frozen=True)
class Student:
    """A model on the way: its weights, what is left of the teacher in it, its zeros, and the rounds that led here."""

    model: PreTrainedModel
    origin: SurgeryReport
    rounds: tuple[CompressionRound, ...] = ()
    view: View | None = None  # what its parts are worth, where that is known already
    sparsity: float = 0.0  # share of zeros in the linear layers

    @property
    def form(self) -> tuple[Architecture, float]:
        """All that its latency depends on: the shape and the share of zeros."""
        return self.origin.after, self.sparsity

    @property
    def dev(self) -> float:
        """Dev score (PyTorch) after the last round."""
        return self.rounds[-1].dev if self.rounds else float("nan")

    def save(self, folder: Path) -> None:
        """Write the student so that `Student.load` gives it back; the folder appears whole or not at all."""
        part = folder.with_name(f".{folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        save(self.model, None, part)
        note = {
            "origin": self.origin.model_dump(mode="json"),
            "rounds": [r.model_dump(mode="json") for r in self.rounds],
            "sparsity": self.sparsity,
        }
        files.write_text_atomically(part / "student.json", json.dumps(note))
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)

    @classmethod
    def load(cls, folder: Path) -> Student:
        """Read what `save` wrote."""
        note = json.loads((folder / "student.json").read_text(encoding="utf-8"))
        rounds = tuple(CompressionRound.model_validate(r) for r in note["rounds"])
        origin = SurgeryReport.model_validate(note["origin"])
        return cls(load(folder), origin, rounds, sparsity=note.get("sparsity", 0.0))


def untouched(setting: Setting, view: View | None = None) -> Student:
    """The teacher as a student of itself."""
    origin = SurgeryReport.untouched(Architecture.of(setting.teacher))
    return Student(copy.deepcopy(setting.teacher), origin, view=view)


def budgets(start_ms: float, target_ms: float, rounds: int) -> list[float]:
    """Latencies to reach round by round: large cuts first, small ones last.

    The cubic schedule of Zhu and Gupta 2017, "To prune, or not to prune", eq. 1, on milliseconds instead of sparsity.
    """
    return [target_ms + (start_ms - target_ms) * (1 - (r + 1) / rounds) ** 3 for r in range(rounds)]


def predicted_ms(setting: Setting, candidate: Candidate, student: Student) -> float:
    """Milliseconds that a student is predicted to take as the candidate would be deployed."""
    if candidate.is_given:  # it was measured
        return candidate.predicted.ms
    prices = setting.prices(candidate.precision, candidate.runtime)
    return prices.predict(student.origin.after, candidate.zeros, student.sparsity).ms


def compress(setting: Setting, winner: Candidate, target_ms: float, view: View | None = None) -> Student:
    """Cut the teacher down to `target_ms` in rounds, each followed by a short distillation.

    Every finished round is on disk; a second call goes on after the last one.
    """
    student = untouched(setting, view)
    start = predicted_ms(setting, winner, student)
    wanted = target_ms * SAFETY
    if not winner.changes_shape and not winner.sparsity:
        return student
    for number, budget in enumerate(budgets(start, wanted, setting.effort.rounds)):
        share = (number + 1) / setting.effort.rounds
        student = cut_and_train(
            setting,
            student,
            winner,
            budget,
            name=f"round {number + 1} of {setting.effort.rounds}",
            minutes=setting.effort.compress_minutes / setting.effort.rounds,
            sparsity=winner.sparsity * (1 - (1 - share) ** 3) if winner.sparsity else None,
        )
    return student


def cut_and_train(
    setting: Setting,
    student: Student,
    winner: Candidate,
    budget_ms: float,
    *,
    name: str,
    minutes: float,
    sparsity: float | None = None,
    only_smaller: bool = False,
) -> Student:
    """One round: measure what is worth keeping, cut to `budget_ms`, distil for `minutes`.

    A candidate of zeros gets as many as `budget_ms` needs, or the share `sparsity` if that is named. With
    `only_smaller` a student that cannot be cut further comes back as it was, without training.
    """
    folder = setting.work / name.replace(" ", "-")
    if (folder / "done").is_dir():
        return Student.load(folder / "done")
    if (folder / "cut").is_dir():
        cut = Student.load(folder / "cut")
    else:
        with setting.progress.step(f"Cutting, {name}") as advance:
            cut = _cut(setting, student, winner, budget_ms, sparsity, advance)
            cut.save(folder / "cut")
    if only_smaller and cut.form == student.form:
        return student
    with setting.progress.step(f"Distilling, {name}: {describe(cut)}") as advance:
        trained = _distil(setting, cut, winner, name=name, minutes=minutes, decay=False, folder=folder, advance=advance)
    trained.save(folder / "done")
    _forget(folder)
    return trained


def recover(
    setting: Setting, student: Student, winner: Candidate, *, name: str = "recovery", minutes: float
) -> Student:
    """Distil at the final shape; the learning rate comes back and then falls to zero; the best dev score stays."""
    folder = setting.work / name.replace(" ", "-")
    if (folder / "done").is_dir():
        return Student.load(folder / "done")
    with setting.progress.step(f"Recovering: {describe(student)}") as advance:
        trained = _distil(
            setting, student, winner, name=name, minutes=minutes, decay=True, folder=folder, advance=advance
        )
    trained.save(folder / "done")
    _forget(folder)
    return trained


def distil_given(setting: Setting, winner: Candidate) -> Student:
    """Distil the given student, for as long as others are cut and recovered; its learning rate falls to zero."""
    assert setting.given is not None
    student = Student(setting.given.untrained(), setting.given.origin)
    minutes = setting.effort.compress_minutes + setting.effort.recover_minutes
    return recover(setting.seen_by(winner), student, winner, name="distillation", minutes=minutes)


def describe(student: Student) -> str:
    """E.g. "heads 12 7 4, FFN 1536 640 384", or "90 % zeros"."""
    if student.sparsity:
        return f"{100 * student.sparsity:.0f} % zeros"
    layers = student.origin.after.layers
    heads = " ".join(str(layer.heads) for layer in layers)
    return f"heads {heads}, FFN {' '.join(str(layer.ffn) for layer in layers)}"


def _cut(
    setting: Setting,
    student: Student,
    winner: Candidate,
    budget_ms: float,
    sparsity: float | None,
    advance: Callable[[float], None],
) -> Student:
    model = copy.deepcopy(student.model)
    prices = setting.prices(winner.precision, winner.runtime)
    if isinstance(winner.pattern, Zeros):
        if sparsity is None:  # fewer than before never come back; where no zeros suffice, the most there are
            _, most = prices.sparsity_range(winner.zeros)
            needed = prices.least_sparsity(student.origin.after, winner.zeros, budget_ms)
            sparsity = max(student.sparsity, most if needed is None else needed)
        zeros = replace(winner.pattern, sparsity=sparsity)
        return replace(student, model=set_zeros(model, zeros, setting.calibration), sparsity=sparsity)
    if prices.predict(student.origin.after).ms <= budget_ms:
        return replace(student, model=model)
    view = student.view or look_at(model, setting, [winner.pattern], advance)
    plan = fitting_plan(winner.pattern, view, prices, budget_ms)
    if plan is None:  # the last steps of a staircase: keep the shape, a later round or correction may reach lower
        return replace(student, model=model)
    model, report = cut(model, winner.pattern, plan, setting.calibration)
    return replace(student, model=model, origin=compose(student.origin, report), view=None)


def _distil(
    setting: Setting,
    student: Student,
    winner: Candidate,
    *,
    name: str,
    minutes: float,
    decay: bool,
    folder: Path,
    advance: Callable[[float], None],
) -> Student:
    _, rate = learning_rates(student.origin.after.hidden_size)
    seed = setting.seed + len(student.rounds)
    schedule = Schedule(0, rate, decay=decay, evaluations=8 if decay else 1, seed=seed, rows=setting.rows)
    origin = None if winner.is_given else student.origin
    steps = _planned_steps(setting, student, schedule, minutes, folder, origin)
    report = train(
        student.model,
        setting.train,
        setting.dev,
        objective=setting.objective,
        schedule=replace(schedule, steps=steps, minutes=minutes),
        metric=setting.task.metric,
        folder=folder / "training",
        teacher=setting.teacher,
        origin=origin,
        callbacks=[KeepZeros(student.model)] if student.sparsity else [],
        advance=advance,
    )
    done = CompressionRound(
        name=name,
        layers=student.origin.after.layers,
        sparsity=student.sparsity,
        predicted_ms=predicted_ms(setting, winner, student),
        steps=report.steps,
        dev=report.best_dev,
        seconds=report.seconds,
        kept_start=report.kept_start,
        best_step=report.best_step,
    )
    setting.progress.say(
        f"{name}: {done.predicted_ms:.2f} ms predicted, dev {setting.task.metric} {report.best_dev:.4f}"
    )
    if report.kept_start:
        setting.progress.say(
            f"{name}: no step of the distillation scored better on dev; the weights before it are kept"
        )
    elif report.best_step < report.steps:
        setting.progress.say(
            f"{name}: dev was best after {report.best_step} of {report.steps} steps; those weights are kept"
        )
    return replace(student, rounds=(*student.rounds, done), view=None)


def _planned_steps(
    setting: Setting,
    student: Student,
    schedule: Schedule,
    minutes: float,
    folder: Path,
    origin: SurgeryReport | None,
) -> int:
    """Steps that fit the minutes, measured once and kept, so that an interrupted stage goes on with the same plan."""
    note = folder / "steps.json"
    if note.is_file():
        return int(json.loads(note.read_text()))
    epochs = setting.effort.student_epochs if schedule.decay else setting.effort.student_epochs / setting.effort.rounds
    steps = steps_within(
        student.model,
        setting.train,
        setting.objective,
        minutes=minutes,
        epochs=epochs,
        schedule=schedule,
        teacher=setting.teacher,
        origin=origin,
    )
    files.write_text_atomically(note, json.dumps(steps))
    return steps


def _forget(folder: Path) -> None:
    """Checkpoints of a finished stage only take up space."""
    shutil.rmtree(folder / "training", ignore_errors=True)
    shutil.rmtree(folder / "cut", ignore_errors=True)
