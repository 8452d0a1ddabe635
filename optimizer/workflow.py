"""Workflow: the stages of `optimize` in order; each leaves its result in the job's folder and is not done twice."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from transformers import PreTrainedModel, set_seed

from benchmarks.errors import TrimfitError
from optimizer.architecture import Architecture
from optimizer.artefact import Artefact, build
from optimizer.candidates import Candidate
from optimizer.compression import (
    Student,
    begin,
    compress,
    cut_and_train,
    distil_given,
    predicted_ms,
    recover,
    untouched,
    unused_minutes,
)
from optimizer.compute import keep_freed_memory
from optimizer.decision import Decision, decide, reason_of_runtime
from optimizer.decision_record import Correction, DecisionRecord
from optimizer.deployment.folder import Deployment, publish, stage_files
from optimizer.job import Job
from optimizer.judgement import SAFETY
from optimizer.preparation import prepare
from optimizer.progress import Progress
from optimizer.proof import Proof, prove
from optimizer.pruning.patterns import Hidden, Width, Zeros
from optimizer.race import race
from optimizer.rescue import Quantised, rescue
from optimizer.scoring import score
from optimizer.setting import Setting
from optimizer.shape_trial import shape_trial
from optimizer.summary import decision_record, manifest_of
from optimizer.survivors import Worth
from optimizer.target import MaxDrop

__all__ = ["run"]

MOST_CORRECTIONS = 3
STRIDE = 1.25  # from round to round, when the target is a score and the latency is to be found
MOST_STRIDES = 12
MOST_RECOVERIES = 3
SLACK = 0.01  # dev score that the recovery usually wins back: a round may be this far below the allowed score


@dataclass(frozen=True)
class _Finish:
    """A student exported, scored and measured."""

    student: Student
    artefact: Artefact
    dev: float
    proof: Proof


def run(job: Job, progress: Progress) -> Deployment:
    """Do what is left to do of a job and return its deployment; see `Deployment.manifest.target_met`.

    Raises TrimfitError for everything the person can mend: input, environment, an impossible target.
    """
    set_seed(job.seed)
    keep_freed_memory()
    if (job.out / "manifest.json").is_file():
        job.check()  # refuses another job's deployment
        _clear(job)  # what an interruption just after it was published left behind
        return Deployment(job.out)
    setting = prepare(job, progress)
    decision = _decided(setting)
    job.tick()
    assert decision.winner is not None
    progress.say(f"chosen: {decision.reason}")
    setting = _taught(setting, decision.winner)
    student, winner = _compressed(setting, decision)
    if winner is not decision.winner:
        what = "the given student did not keep" if decision.winner.is_given else "no smaller shape kept"
        decision = replace(decision, winner=winner, reason=f"{winner.name}: {what} the score")
    job.tick()
    setting = setting.seen_by(winner)
    finish, corrections = _finished(setting, student, winner)
    return _published(job, setting, decision, finish, corrections)


def _taught(setting: Setting, winner: Candidate) -> Setting:
    """The setting whose latency model knows what the winner's shape took."""
    if not winner.tried_ms:
        return setting
    return setting.corrected("the winner's shape", winner, winner.architecture, winner.shares, *winner.tried_ms)


def _decided(setting: Setting) -> Decision:
    """Judge and race the candidates, or read what an earlier run decided."""
    if (setting.work / "decision.json").is_file():
        return _read_decision(setting)
    with setting.progress.step("Judging the candidates") as advance:
        decision = decide(setting, advance)
    if decision.view is not None and decision.view.sensitivity is not None:
        Worth.of(decision.view.sensitivity).write(setting.work)
    for candidate in decision.candidates:
        if candidate.refused:
            setting.progress.say(f"refused: {candidate.refused}")
    able = [c.name for c in decision.candidates if not c.refused]
    if not able and isinstance(setting.target, MaxDrop):
        dense = min(setting.allowed_baselines, key=lambda b: b.ms)
        winner = decision.dense(dense)
        decision = replace(decision, winner=winner, reason=f"{winner.name}: nothing smaller is faster here")
        decision_record(setting, decision).write(setting.work)
        return decision
    if not able:
        prices = [setting.prices(b.precision, b.runtime) for b in setting.allowed_baselines]
        sizes = (prices[0].architecture.hidden_size, *setting.hidden_sizes)
        fastest = min(each.at(size).fastest_ms() for each in prices for size in sizes)
        raise TrimfitError(
            f"no candidate reaches {setting.target} on {setting.device.name}: the fastest possible is "
            f"{fastest:.2f} ms, {setting.teacher_ms / fastest:.1f}x: ask for less"
            + (f", or for more than --pattern {setting.pattern}" if setting.pattern else "")
        )
    with setting.progress.step(f"Racing {', '.join(able)}") as advance:
        decision = race(setting, decision, advance)
    chosen = decision.winner
    assert chosen is not None
    decision = replace(decision, reason=decision.reason + reason_of_runtime(setting, chosen))
    decision_record(setting, decision).write(setting.work)  # a trial that fails loses no race
    if chosen.changes_shape:  # zeros are as many as they are, whatever a trial would say
        decision = _tried(setting, decision)
        decision_record(setting, decision).write(setting.work)
    return replace(decision, winner_model=None)


def _tried(setting: Setting, decision: Decision) -> Decision:
    winner, model = decision.winner, decision.winner_model
    assert winner is not None
    assert model is not None
    with setting.progress.step("Timing the winner's shape on the device") as advance:
        decision = decision.tried(shape_trial(setting, winner, model, advance))
    setting.progress.say(
        f"{winner.name}: {winner.predicted.ms:.2f} ms predicted, {_mean(setting, decision):.2f} measured"
    )
    return decision


def _mean(setting: Setting, decision: Decision) -> float:
    """Over the lengths of the workload."""
    assert decision.winner is not None
    points = setting.workload.points()
    return sum(share * ms for (_, share), ms in zip(points, decision.winner.tried_ms, strict=True))


def _read_decision(setting: Setting) -> Decision:
    record = DecisionRecord.read(setting.work)
    teacher = Architecture.of(setting.teacher)
    given = setting.given.origin.after if setting.given else teacher
    candidates = tuple(Candidate.from_record(c, given if c.cut == "given" else teacher) for c in record.candidates)
    winner = next(c for c, r in zip(candidates, record.candidates, strict=True) if r.chosen)
    return Decision(candidates, record.target_ms, winner, record.reason)


def _compressed(setting: Setting, decision: Decision) -> tuple[Student, Candidate]:
    """The student, and the candidate it is: where no cut keeps the score, that is a dense one."""
    assert decision.winner is not None
    if isinstance(setting.target, MaxDrop):
        return _as_fast_as_allowed(setting, decision)
    if decision.winner.is_given:
        return distil_given(setting, decision.winner), decision.winner
    student = compress(setting, decision.winner, decision.target_ms, decision.view)
    if student.rounds:
        minutes = setting.effort.recover_minutes + unused_minutes(setting, decision.winner, student)
        student = recover(setting, student, decision.winner, minutes=minutes)
    return student, decision.winner


def _as_fast_as_allowed(setting: Setting, decision: Decision) -> tuple[Student, Candidate]:
    """Cut on until the score falls too far; then recover the last good shape, or one before it."""
    assert isinstance(setting.target, MaxDrop)
    assert decision.winner is not None
    winner = decision.winner
    lowest = setting.target.lowest_score(setting.baselines[0].dev)
    if winner.is_given:
        return _given_or_next(setting, decision, lowest)
    start, rewind_to = begin(setting, winner, decision.view)
    trail = _trail(setting, winner, start, lowest - SLACK, rewind_to)
    for number, student in enumerate(reversed(trail[1:][-MOST_RECOVERIES:])):
        name = f"recovery {number + 1}"
        recovered = recover(setting, student, winner, name=name, minutes=setting.effort.recover_minutes)
        with setting.progress.step("Scoring it as deployed"):
            dev = _deployed(setting, recovered, winner, setting.work / name.replace(" ", "-")).dev
        if dev >= lowest:
            return recovered, winner
        setting.progress.say(f"{name}: dev {dev:.4f} as deployed, {lowest:.4f} wanted; going back to a larger shape")
    return untouched(setting), _densest(setting, decision, lowest)


def _densest(setting: Setting, decision: Decision, lowest: float) -> Candidate:
    """The fastest uncompressed teacher that is good enough."""
    good = [b for b in setting.allowed_baselines if b.dev >= lowest]
    return decision.dense(min(good or setting.allowed_baselines, key=lambda b: b.ms))  # else the target is missed


def _given_or_next(setting: Setting, decision: Decision, lowest: float) -> tuple[Student, Candidate]:
    """The given student if it keeps the score once it is distilled; else what came next in the race."""
    winner = decision.winner
    assert winner is not None
    student = distil_given(setting, winner)
    with setting.progress.step("Scoring it as deployed"):
        dev = _deployed(setting.seen_by(winner), student, winner, setting.work / "distillation").dev
    if dev >= lowest:
        return student, winner
    setting.progress.say(f"{winner.name}: dev {dev:.4f} as deployed, {lowest:.4f} wanted; going on with the next best")
    others = [c for c in decision.candidates if c.race and c.is_trained and not c.is_given]
    if not others:
        return untouched(setting), _densest(setting, decision, lowest)
    following = max(others, key=lambda c: (len(c.race), c.race[-1].dev))
    return _as_fast_as_allowed(setting, replace(decision, winner=following))


def _trail(
    setting: Setting, winner: Candidate, start: Student, lowest: float, rewind_to: PreTrainedModel | None = None
) -> list[Student]:
    """Ever smaller students, each `STRIDE` faster than the one before, as long as dev stays above `lowest`.

    Each is cut from the one before it, or all from the first where one cut is to be enough.
    """
    trail = [start]
    at_once = setting.schedule == "one-shot"
    minutes = setting.effort.compress_minutes / setting.effort.rounds
    while (winner.changes_shape or winner.sparsity) and len(trail) <= MOST_STRIDES:
        # from what the last one takes: a whole layer, or the fewest zeros that pay, may have been more than a stride
        budget = predicted_ms(setting, winner, trail[-1]) / STRIDE
        name = f"round {len(trail)}"
        student = cut_and_train(
            setting,
            trail[0 if at_once else -1],
            winner,
            budget,
            name=name,
            minutes=minutes,
            only_smaller=True,
            rewind_to=rewind_to,
        )
        if student.form in (trail[-1].form, start.form) or student.dev < lowest:
            break
        trail.append(student)
    return trail


@dataclass(frozen=True)
class _Scored:
    artefact: Artefact
    dev: float


def _deployed(setting: Setting, student: Student, winner: Candidate, folder: Path) -> _Scored:
    runtime = setting.runtime_of(winner)
    artefact = build(student.model, setting.tokenizer, runtime, winner.precision, folder, setting.dev, setting.train)
    known = setting.float_groups(winner, [origin.layer for origin in student.origin.layers])
    quantised = Quantised(
        model=student.model,
        fp32=artefact.fp32,
        runtime=runtime,
        precision=winner.precision,
        calibration=setting.train,
        metric=setting.task.metric,
        batch_size=setting.workload.batch,
    )
    artefact, logits = rescue(quantised, artefact, setting.dev, known=known)
    if artefact.float_layers:
        setting.progress.say(f"student {winner.precision}: {artefact.float_layers}")
    return _Scored(artefact, score(setting.dev.labels, logits, setting.task.metric))


def _finished(setting: Setting, student: Student, winner: Candidate) -> tuple[_Finish, list[Correction]]:
    """Export, score and measure; where the measured target is missed, teach the latency model and cut on."""
    corrections: list[Correction] = []
    target = setting.target
    while True:
        finish = _measured(setting, student, winner, len(corrections))
        measured = finish.proof.student.median * 1e3
        clock = finish.proof.clock(setting.baseline(winner.precision, winner.runtime))
        shape, shares = student.form
        corrections.append(
            Correction(
                predicted_ms=clock * predicted_ms(setting, winner, student),
                measured_ms=measured,
                speedup=finish.proof.versus_teacher.speedup,
                layers=shape.layers,
                sparsity=student.sparsity,
                hidden_size=student.hidden_size,
            )
        )
        if isinstance(target, MaxDrop) or finish.proof.meets(setting, finish.dev):
            return finish, corrections
        if len(corrections) > MOST_CORRECTIONS or winner.is_given:  # which is not cut
            return finish, corrections
        took = (part.median_ms / clock for part, _ in finish.proof.student.parts)
        setting = setting.corrected(f"student {len(corrections)}", winner, shape, shares, *took)
        finest = isinstance(winner.pattern, (Zeros, Hidden))  # there can be more zeros, or finer cuts at that size
        if setting.pattern is None and not finest:
            winner = replace(winner, pattern=Width(setting.importance))  # the finest cuts there are, whatever led here
        # against the teacher as timed beside the student, and a little lower each time
        wanted = target.milliseconds(finish.proof.teacher.median * 1e3)
        budget = wanted / clock * SAFETY ** (1 + len(corrections) / 2)
        smaller = _cut_on(setting, student, winner, budget, len(corrections))
        if smaller.form == student.form:
            return finish, corrections  # nothing smaller is left on this device
        student = smaller


def _cut_on(setting: Setting, student: Student, winner: Candidate, budget_ms: float, number: int) -> Student:
    setting.progress.say(f"target missed; correction {number} aims at {budget_ms:.2f} ms")
    minutes = setting.effort.compress_minutes / setting.effort.rounds
    name = f"correction {number}"
    cut = cut_and_train(setting, student, winner, budget_ms, name=name, minutes=minutes, only_smaller=True)
    if cut.form == student.form:
        return student
    return recover(
        setting,
        cut,
        winner,
        name=f"recovery after correction {number}",
        minutes=setting.effort.recover_minutes / 2,
    )


def _measured(setting: Setting, student: Student, winner: Candidate, attempt: int) -> _Finish:
    folder = setting.work / f"attempt-{attempt}"
    with setting.progress.step("Exporting and scoring the student"):
        scored = _deployed(setting, student, winner, folder)
    setting.progress.say(
        f"student {winner.precision}: dev {setting.task.metric} {scored.dev:.4f} with {winner.runtime}"
    )
    runtime = setting.runtime_of(winner)
    proof = prove(setting, scored.artefact.path, runtime, "Timing teacher and student on the device")
    return _Finish(student, scored.artefact, scored.dev, proof)


def _published(
    job: Job, setting: Setting, decision: Decision, finish: _Finish, corrections: list[Correction]
) -> Deployment:
    """Score the test part once, write the deployment folder and clear the work away."""
    assert decision.winner is not None
    stage = job.work / "deployment"
    with setting.progress.step("Scoring the test part and writing the deployment"):
        stage_files(
            stage,
            model=finish.student.model,
            tokenizer=setting.tokenizer,
            onnx=finish.artefact.path,
            fp32=finish.artefact.fp32,
            runtime=setting.runtime_of(decision.winner),
            device=setting.device,
            workload=setting.workload,
            longest=setting.max_tokens,
            measurements=list(finish.proof.measurements.values()),
        )
        manifest = manifest_of(
            setting,
            decision.winner,
            finish.student,
            finish.artefact,
            finish.proof,
            finish.dev,
            corrections[-1].predicted_ms,
        )
        record = decision_record(
            setting,
            decision,
            finish.student,
            corrections,
            finish.proof,
            manifest.student.dev,
            finish.artefact.float_layers,
        )
        manifest = manifest.model_copy(update={"minutes": job.tick()})
        deployment = publish(stage, job.out, record, manifest)
    _clear(job)
    return deployment


def _clear(job: Job) -> None:
    """Keep the note of what was asked; the rest of the work folder only takes up space."""
    for path in job.work.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != "job.json":
            path.unlink()
