"""Compression: the winner made for real, cut gradually while it is distilled, then recovered at its final shape."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, TrainerCallback

from hardware_profiles.layer_zeros import LayerZeros, Sparsity
from optimizer import files
from optimizer.architecture import Architecture
from optimizer.candidates import Candidate
from optimizer.compute import on_training_device
from optimizer.cut_schedule import cuts_of, rewinds
from optimizer.decision import look_at
from optimizer.decision_record import CompressionRound
from optimizer.distillation.trainer import Schedule, steps_within, train
from optimizer.judgement import SAFETY, fitting_plan
from optimizer.model_folder import load, save
from optimizer.narrow_teacher import NarrowTeacher
from optimizer.pruning.cutting import cut
from optimizer.pruning.lottery import KeepEarly, rewound, with_weights
from optimizer.pruning.patterns import Hidden, NOfM, View, Zeros
from optimizer.pruning.zeros import set_zeros
from optimizer.pruning.zeros_choice import more_zeros
from optimizer.pruning.zeros_training import makes_zeros, training_zeros
from optimizer.setting import Setting, learning_rates
from optimizer.surgery import SurgeryReport, compose
from optimizer.target import MaxDrop

__all__ = [
    "Student",
    "begin",
    "budgets",
    "compress",
    "cut_and_train",
    "distil_given",
    "predicted_ms",
    "recover",
    "round_minutes",
    "untouched",
    "unused_minutes",
]


@dataclass(frozen=True)
class Student:
    """A model on the way: its weights, what is left of the teacher in it, its zeros, and the rounds that led here."""

    model: PreTrainedModel
    origin: SurgeryReport
    rounds: tuple[CompressionRound, ...] = ()
    view: View | None = None  # what its parts are worth, where that is known already
    sparsity: float = 0.0  # share of zeros in the linear layers
    layer_zeros: tuple[LayerZeros, ...] = ()  # in each of them, where they differ

    @property
    def form(self) -> tuple[Architecture, Sparsity]:
        """All that its latency depends on: the shape and the share of zeros, or each layer's own."""
        return self.origin.after, self.layer_zeros or self.sparsity

    @property
    def hidden_size(self) -> int | None:
        """Its hidden dimensions where some of the teacher's are gone; None where all are left."""
        return None if self.origin.dimensions is None else self.origin.after.hidden_size

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
            "layer_zeros": [layer.model_dump(mode="json") for layer in self.layer_zeros],
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
        layer_zeros = tuple(LayerZeros.model_validate(layer) for layer in note.get("layer_zeros", ()))
        return cls(
            on_training_device(load(folder)),
            origin,
            rounds,
            sparsity=note.get("sparsity", 0.0),
            layer_zeros=layer_zeros,
        )


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
    shape, shares = student.form
    return prices.predict(shape, candidate.zeros, shares).ms


def compress(setting: Setting, winner: Candidate, target_ms: float, view: View | None = None) -> Student:
    """Cut the teacher down to `target_ms` in rounds, each followed by a short distillation.

    A round in which nothing can go does not train either, see `unused_minutes`. Every finished round is on disk; a
    second call goes on after the last one.
    """
    if not winner.changes_shape and not winner.sparsity:
        return untouched(setting, view)
    student, rewind_to = begin(setting, winner, view)
    start = predicted_ms(setting, winner, student)
    wanted = target_ms * SAFETY
    rounds = _rounds(setting, winner)
    for number, budget in enumerate(budgets(start, wanted, rounds)):
        share = (number + 1) / rounds
        zeros = winner.pattern.times(1 - (1 - share) ** 3) if isinstance(winner.pattern, Zeros) else None
        student = cut_and_train(
            setting,
            student,
            winner,
            budget,
            name=f"round {number + 1} of {rounds}",
            minutes=round_minutes(setting, winner),
            zeros=zeros,
            only_smaller=True,
            rewind_to=rewind_to,
        )
    return student


def unused_minutes(setting: Setting, winner: Candidate, student: Student) -> float:
    """What the rounds left over of their minutes: plans come in steps, and the last cuts may be less than one."""
    return max(0.0, setting.effort.compress_minutes - len(student.rounds) * round_minutes(setting, winner))


def begin(setting: Setting, winner: Candidate, view: View | None = None) -> tuple[Student, PreTrainedModel | None]:
    """The student before its first cut, and the weights that what is left goes back to after each one, if it does.

    For a lottery the student is trained first, whether that betters it or not: what is cut is decided by weights that
    have trained. Those of an early step are on disk.
    """
    student = untouched(setting, view)
    if not rewinds(setting.schedule) or not (winner.changes_shape or winner.sparsity):
        return student, None
    name = "first training"
    early = setting.work / _folder(name) / "early.safetensors"
    keep_early = [KeepEarly(student.model, early)] if setting.schedule == "lottery-early" else []
    minutes = round_minutes(setting, winner)
    title = "Distilling before the first cut"
    trained = _stage(
        setting, student, winner, name=name, minutes=minutes, decay=False, title=title, also=keep_early, takes_last=True
    )
    return trained, with_weights(setting.teacher, early) if keep_early else setting.teacher


def round_minutes(setting: Setting, winner: Candidate) -> float:
    """How long each round trains; a lottery's first training takes as long."""
    return setting.effort.compress_minutes / (_rounds(setting, winner) + rewinds(setting.schedule))


def _rounds(setting: Setting, winner: Candidate) -> int:
    by = winner.pattern.by if isinstance(winner.pattern, Zeros) else None
    return cuts_of(setting.schedule, setting.effort.rounds, by)


def cut_and_train(
    setting: Setting,
    student: Student,
    winner: Candidate,
    budget_ms: float,
    *,
    name: str,
    minutes: float,
    zeros: Zeros | None = None,
    only_smaller: bool = False,
    rewind_to: PreTrainedModel | None = None,
) -> Student:
    """One round: measure what is worth keeping, cut to `budget_ms`, distil for `minutes`.

    A candidate of zeros gets as many as `budget_ms` needs, or `zeros` if these are named. With `only_smaller` a student
    that cannot be cut further comes back as it was, without training. What is left gets the weights of `rewind_to`, a
    model of the teacher's shape, before it is trained.
    """
    folder = setting.work / _folder(name)
    if (folder / "done").is_dir():
        return Student.load(folder / "done")
    if (folder / "cut").is_dir():
        cut = Student.load(folder / "cut")
    else:
        with setting.progress.step(f"Cutting, {name}") as advance:
            cut = _cut(setting, student, winner, budget_ms, zeros, advance)
            if rewind_to is not None:
                cut = replace(cut, model=rewound(cut.model, rewind_to, cut.origin))
            cut.save(folder / "cut")
    if only_smaller and cut.form == student.form:
        return student
    title = f"Distilling, {name}: {describe(cut)}"
    return _stage(setting, cut, winner, name=name, minutes=minutes, decay=False, title=title, make_zeros=True)


def recover(
    setting: Setting, student: Student, winner: Candidate, *, name: str = "recovery", minutes: float
) -> Student:
    """Distil at the final shape; the learning rate comes back and then falls to zero; what did best on dev stays."""
    title = f"Recovering: {describe(student)}"
    return _stage(setting, student, winner, name=name, minutes=minutes, decay=True, title=title)


def _stage(
    setting: Setting,
    student: Student,
    winner: Candidate,
    *,
    name: str,
    minutes: float,
    decay: bool,
    title: str,
    make_zeros: bool = False,
    also: Sequence[TrainerCallback] = (),
    takes_last: bool = False,
) -> Student:
    """Train a student for so long and leave it on disk; one that is there already is read."""
    folder = setting.work / _folder(name)
    if (folder / "done").is_dir():
        return Student.load(folder / "done")
    with setting.progress.step(title) as advance:
        trained = _distil(
            setting,
            student,
            winner,
            name=name,
            minutes=minutes,
            decay=decay,
            folder=folder,
            advance=advance,
            make_zeros=make_zeros,
            also=also,
            takes_last=takes_last,
        )
    trained.save(folder / "done")
    _forget(folder)
    return trained


def _folder(name: str) -> str:
    """Of a stage, in the work folder."""
    return name.replace(" ", "-")


def distil_given(setting: Setting, winner: Candidate) -> Student:
    """Distil the given student, for as long as others are cut and recovered; its learning rate falls to zero."""
    assert setting.given is not None
    student = Student(setting.given.untrained(), setting.given.origin)
    minutes = setting.effort.compress_minutes + setting.effort.recover_minutes
    return recover(setting.seen_by(winner), student, winner, name="distillation", minutes=minutes)


def describe(student: Student) -> str:
    """E.g. "heads 12 7 4, FFN 1536 640 384" behind "hidden 256, " where that is less, or "90 % zeros"."""
    if student.sparsity:
        return f"{100 * student.sparsity:.0f} % zeros"
    layers = student.origin.after.layers
    heads = " ".join(str(layer.heads) for layer in layers)
    narrow = f"hidden {student.hidden_size}, " if student.hidden_size else ""
    return f"{narrow}heads {heads}, FFN {' '.join(str(layer.ffn) for layer in layers)}"


def _cut(
    setting: Setting,
    student: Student,
    winner: Candidate,
    budget_ms: float,
    zeros: Zeros | None,
    advance: Callable[[float], None],
) -> Student:
    if isinstance(winner.pattern, Hidden) and student.hidden_size is None:
        start = NarrowTeacher.of(setting, winner.pattern.size)
        student = replace(student, model=start.model, origin=start.origin, view=None)
    model = copy.deepcopy(student.model)
    prices = setting.prices(winner.precision, winner.runtime).at(student.origin.after.hidden_size)
    if isinstance(winner.pattern, Zeros):
        there = _zeros_of(student, winner)
        zeros = zeros or more_zeros(there, model, prices, budget_ms, setting.calibration, advance)
        if not makes_zeros(zeros):
            set_zeros(model, zeros, setting.calibration)
        return replace(student, model=model, sparsity=zeros.sparsity, layer_zeros=zeros.layers)
    if prices.predict(student.origin.after).ms <= budget_ms:
        return replace(student, model=model)
    view = student.view or look_at(model, setting, [winner.pattern], advance)
    plan = fitting_plan(winner.pattern, view, prices, budget_ms)
    if plan is None:  # the last steps of a staircase: keep the shape, a later round or correction may reach lower
        return replace(student, model=model)
    model, report = cut(model, winner.pattern, plan, setting.calibration)
    return replace(student, model=model, origin=compose(student.origin, report), view=None)


def _zeros_of(student: Student, winner: Candidate) -> Any:
    """The winner's pattern with the zeros that the student has, or is to get."""
    if not isinstance(winner.pattern, Zeros) or isinstance(winner.pattern, NOfM):
        return winner.pattern
    return replace(winner.pattern, sparsity=student.sparsity, layers=student.layer_zeros)


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
    make_zeros: bool = False,
    also: Sequence[TrainerCallback] = (),
    takes_last: bool = False,
) -> Student:
    pattern = _zeros_of(student, winner)
    _, rate = learning_rates(student.origin.after.hidden_size)
    seed = setting.seed + len(student.rounds)
    schedule = Schedule(0, rate, decay=decay, evaluations=8 if decay else 1, seed=seed, rows=setting.rows)
    origin = None if winner.is_given else student.origin
    steps = _planned_steps(setting, student, schedule, minutes, folder, origin)
    takes_last = takes_last or (make_zeros and makes_zeros(pattern))
    score_alone = isinstance(setting.target, MaxDrop)
    with training_zeros(student.model, pattern, make=make_zeros) as callbacks:
        report = train(
            student.model,
            setting.train,
            setting.dev,
            objective=setting.objective,
            schedule=replace(schedule, steps=steps, minutes=minutes, takes_last=takes_last, score_alone=score_alone),
            metric=setting.task.metric,
            folder=folder / "training",
            teacher=setting.teacher,
            origin=origin,
            callbacks=[*callbacks, *also],
            advance=advance,
        )
    done = CompressionRound(
        name=name,
        layers=student.origin.after.layers,
        sparsity=student.sparsity,
        layer_zeros=student.layer_zeros,
        hidden_size=student.hidden_size,
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
        setting.progress.say(f"{name}: no step of the distillation did better on dev; the weights before it are kept")
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
    effort = setting.effort
    epochs = effort.student_epochs * (1.0 if schedule.decay else minutes / effort.compress_minutes)
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
