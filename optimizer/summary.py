"""Summary: what a finished (or decided) job writes down, as manifest and decision record."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from transformers import PreTrainedModel

from benchmarks import Comparison, Measurement
from hardware_profiles.runtimes import refused
from optimizer.artefact import Artefact, logits_of
from optimizer.candidates import Candidate
from optimizer.compression import Student
from optimizer.decision import Decision
from optimizer.decision_record import Correction, DecisionRecord, KeptLayer, ScoredPoint
from optimizer.deployment.options import portable_options
from optimizer.distillation.catalog import name_of
from optimizer.evaluation.comparison import Answers, compare_answers
from optimizer.evaluation.held_out import HeldOut
from optimizer.float_layers import FloatLayers
from optimizer.inference import predict
from optimizer.manifest import (
    BlackBoxFacts,
    DeviceFacts,
    Latency,
    Manifest,
    Parity,
    Speedup,
    StudentFacts,
    TeacherFacts,
)
from optimizer.proof import STUDENT, Proof
from optimizer.scoring import scores
from optimizer.setting import Baseline, Setting
from optimizer.survivors import Worth, kept_dimensions, kept_layers

__all__ = ["decision_record", "manifest_of"]


def manifest_of(
    setting: Setting,
    winner: Candidate,
    student: Student,
    artefact: Artefact,
    proof: Proof,
    dev: float,
    predicted_ms: float,
) -> Manifest:
    """The manifest, its files and minutes still to be filled in. Scores the held-out sets, with the ONNX file."""
    metric = setting.task.metric
    first, *others = (_answers(setting, winner, artefact, held) for held in setting.held_out)
    evaluation, *also = (compare_answers(each, metric, setting.seed) for each in (first, *others))
    teacher_scores, student_scores = scores(first.labels, first.teacher), scores(first.labels, first.student)
    shape = student.origin.after
    teacher_bytes, student_bytes = _bytes(setting.baselines[0].onnx), _bytes(artefact.path)
    return Manifest(
        trimfit=version("trimfit"),
        device=_device(setting),
        workload=setting.workload,
        target=str(setting.target),
        target_met=proof.meets(setting, dev),
        teacher=TeacherFacts(
            metric=metric,
            dev=setting.baselines[0].dev,
            test=teacher_scores[metric] if setting.test is not None else None,
            scores=teacher_scores,
            latency_ms=_latency(proof.teacher),
            parameters=_parameters(setting.whole or setting.teacher),
            onnx_bytes=teacher_bytes,
        ),
        student=StudentFacts(
            pattern="structured" if shape != student.origin.before else winner.pattern_name,
            precision=winner.precision,
            runtime=winner.runtime,
            sparsity=student.sparsity,
            hidden_size=shape.hidden_size,
            layers=shape.layers,
            parameters=_parameters(student.model),
            onnx_bytes=student_bytes,
            onnx_bytes_ratio=teacher_bytes / student_bytes,
            dev=dev,
            test=student_scores[metric] if setting.test is not None else None,
            scores=student_scores,
            float_layers=artefact.float_layers,
            groups=evaluation.groups,
            distill=name_of(setting.objective) if student.rounds else None,
            latency_ms=_latency(proof.student, predicted_ms),
        ),
        speedup=_speedup(proof.versus_teacher, setting),
        speedup_versus_strongest_dense=_speedup(proof.versus_strongest, setting),
        parity=Parity(**artefact.parity.model_dump(), device_relative_difference=proof.device_difference),
        evaluation=evaluation.model_copy(update={"groups": {}}),  # they are the student's
        also=dict(zip((held.name for held in setting.held_out[1:]), also, strict=True)),
        vocabulary=setting.vocabulary,
        black_box=_black_box(setting, first),
        training=setting.training if student.rounds else None,
        seed=setting.seed,
        minutes=0.0,
        files={},
    )


def decision_record(
    setting: Setting,
    decision: Decision,
    student: Student | None = None,
    corrections: Sequence[Correction] = (),
    proof: Proof | None = None,
    dev: float | None = None,
    float_layers: FloatLayers | None = None,
) -> DecisionRecord:
    """The decision as decided, or, given the student, its proof and what of it stays in fp32, as it ended."""
    winner = decision.winner.name if decision.winner else None
    return DecisionRecord(
        device=_device(setting),
        workload=setting.workload,
        target=str(setting.target),
        runtime_options=portable_options(setting.runtime_of(decision.winner) if decision.winner else setting.stock),
        teacher_ms=setting.teacher_ms,
        target_ms=decision.target_ms * (proof.clock(setting.baselines[0]) if proof else 1.0),
        candidates=tuple(c.record(setting.teacher_ms, chosen=c.name == winner) for c in decision.candidates),
        reason=decision.reason,
        not_profiled=(
            *(sentence for engine in setting.engines for sentence in engine.not_profiled),
            *(f"{name}: {reason}" for name, reason in refused().items()),
        ),
        rounds=student.rounds if student else (),
        corrections=tuple(corrections),
        kept=_kept(setting, decision, student),
        dimensions=kept_dimensions(student.origin) if student else None,
        float_layers=_float_layers(setting, float_layers),
        points=tuple(_points(setting, decision, student, proof, dev)),
    )


def _kept(setting: Setting, decision: Decision, student: Student | None) -> tuple[KeptLayer, ...]:
    """What lives on of each of the teacher's layers; empty of a student that was given."""
    if student is None or (decision.winner is not None and decision.winner.is_given):
        return ()
    return kept_layers(student.origin, Worth.read(setting.work))


def _answers(setting: Setting, winner: Candidate, artefact: Artefact, held: HeldOut) -> Answers:
    """What the fp32 teacher answers with all its tokens, and the student as the device runs it."""
    teacher = predict(setting.whole or setting.teacher, held.teacher)
    student = logits_of(setting.runtime_of(winner), artefact.path, held.student, setting.workload.batch)
    return Answers(held.rows.labels, teacher, student, held.rows.groups)


def _black_box(setting: Setting, scored: Answers) -> BlackBoxFacts | None:
    if setting.lesson is None:
        return None
    return setting.lesson.facts(setting.held_out[0].name, scored.teacher, scored.student)


def _float_layers(setting: Setting, student: FloatLayers | None) -> dict[str, FloatLayers]:
    found = {b.name: b.float_layers for b in setting.baselines} | {STUDENT: student}
    return {name: layers for name, layers in found.items() if layers}


def _points(
    setting: Setting, decision: Decision, student: Student | None, proof: Proof | None, dev: float | None
) -> list[ScoredPoint]:
    """Models with a dev score and a latency; given a proof, all on the clock of its run."""

    def clock(baseline: Baseline) -> float:
        return proof.clock(baseline) if proof else 1.0

    points = [
        ScoredPoint(
            name=b.name,
            dev=b.dev,
            ms=b.ms * clock(b),
            latency_is="measured",
            kind="teacher" if b is setting.baselines[0] else "baseline",
        )
        for b in setting.baselines
    ]
    for c in decision.candidates:
        if c.race:
            ms = c.predicted.ms * clock(setting.baseline(c.precision, c.runtime))
            how = "measured" if c.is_given else "predicted"
            points.append(ScoredPoint(name=c.name, dev=c.race[-1].dev, ms=ms, latency_is=how, kind="candidate"))
    if student and decision.winner:
        factor = clock(setting.baseline(decision.winner.precision, decision.winner.runtime))
        for r in student.rounds:
            ms = r.predicted_ms * factor
            points.append(ScoredPoint(name=r.name, dev=r.dev, ms=ms, latency_is="predicted", kind="round"))
    if proof and dev is not None:
        ms = proof.student.median * 1e3
        points.append(ScoredPoint(name="student", dev=dev, ms=ms, latency_is="measured", kind="student"))
    return points


def _device(setting: Setting) -> DeviceFacts:
    return DeviceFacts(
        name=setting.device.name, fingerprint=setting.device.fingerprint, provenance=setting.device.provenance
    )


def _latency(measurement: Measurement, predicted_ms: float | None = None) -> Latency:
    return Latency(median=measurement.median * 1e3, p90=measurement.p90_ms, predicted=predicted_ms)


def _speedup(comparison: Comparison, setting: Setting) -> Speedup:
    return Speedup(
        median=comparison.speedup,
        low=comparison.low,
        high=comparison.high,
        versus=next(b.versus for b in setting.baselines if b.name == comparison.baseline),
    )


def _parameters(model: PreTrainedModel) -> int:
    return sum(p.numel() for p in model.parameters())


def _bytes(onnx: Path) -> int:
    return sum(file.stat().st_size for file in onnx.parent.glob(f"{onnx.name}*"))
