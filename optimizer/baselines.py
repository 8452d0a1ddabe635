"""Baselines: the uncompressed teacher with every runtime at every precision, exported once, scored and timed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks import Measurement
from benchmarks.workload import Workload
from hardware_profiles.profile import LatencyProfile
from hardware_profiles.runtimes import Runtime
from optimizer import files
from optimizer.artefact import CALIBRATION_ROWS, Artefact, build, feeds
from optimizer.float_layers import FloatLayers
from optimizer.measuring import measure_models, write_input_pool
from optimizer.progress import Advance, Progress
from optimizer.rescue import Quantised, rescue
from optimizer.scoring import divergence_of, score
from optimizer.setting import Baseline
from optimizer.teacher import Teacher

__all__ = ["measure_baselines"]


def measure_baselines(
    folder: Path,
    teacher: Teacher,
    tokenizer: object,
    profiles: Sequence[LatencyProfile],
    workload: Workload,
    *,
    seed: int,
    progress: Progress,
) -> tuple[Baseline, ...]:
    """The teacher at every precision of every profile; read from `folder` where an earlier run left these.

    fp32 with the first profile's runtime, the stock one, comes first.

    A precision at which it loses score keeps some layers in fp32.
    """
    note = folder / "baselines.json"
    wanted = {(profile.runtime_record.name, precision) for profile in profiles for precision in profile.precisions}
    if note.is_file():
        known = tuple(_read(note))
        if {(b.runtime, b.precision) for b in known} == wanted:  # a runtime may have come or gone meanwhile
            return known
    with progress.step("Scoring the teacher at every precision") as advance:
        scored = list(_scored(folder, teacher, tokenizer, profiles, workload, advance))
    runtimes = {profile.runtime_record.name: profile.runtime for profile in profiles}
    models = {b.name: (b.onnx, runtimes[b.runtime].at(b.precision)) for b in scored}
    models |= {
        _plain(b): (
            _target(folder, b.runtime, b.precision).with_suffix(b.onnx.suffix),
            runtimes[b.runtime].at(b.precision),
        )
        for b in scored
        if b.float_layers
    }
    inputs = write_input_pool(folder / "inputs.npz", teacher.dev, workload, seed)
    with progress.step("Timing the teacher on the device") as advance:
        measured = measure_models(models, workload, inputs, seed=seed, advance=advance)
    baselines = tuple(_timed(b, measured) for b in scored)
    for b in baselines:
        progress.say(f"{b.name}: {b.ms:.2f} ms, dev {teacher.task.metric} {b.dev:.4f}")
        if b.float_layers:
            progress.say(f"{b.name}: {b.float_layers}; {b.plain_ms:.2f} ms without")
    files.write_text_atomically(note, json.dumps([_record(b) for b in baselines], indent=1))
    return baselines


def _scored(
    folder: Path,
    teacher: Teacher,
    tokenizer: object,
    profiles: Sequence[LatencyProfile],
    workload: Workload,
    advance: Advance,
) -> Iterator[Baseline]:
    """The baselines, not timed yet."""
    exported = build(teacher.model, tokenizer, profiles[0].runtime, "fp32", folder, teacher.dev)
    rows = feeds(exported.fp32, teacher.train.sample(CALIBRATION_ROWS, seed=0))
    cases = [(profile.runtime, precision) for profile in profiles for precision in profile.precisions]
    for done, (runtime, precision) in enumerate(cases, 1):
        target = _target(folder, runtime.name, precision)
        path = runtime.prepare(exported.fp32, precision, target, calibration=rows)
        yield _baseline(teacher, replace(exported, path=path), runtime.at(precision), precision, workload.batch)
        advance(done / len(cases))


def _timed(baseline: Baseline, measured: Mapping[str, Measurement]) -> Baseline:
    own, plain = measured[baseline.name], measured.get(_plain(baseline))
    return replace(
        baseline,
        ms=own.median * 1e3,
        by_length=tuple(part.median_ms for part, _ in own.parts),
        plain_ms=plain.median * 1e3 if plain else None,
        plain_by_length=tuple(part.median_ms for part, _ in plain.parts) if plain else (),
    )


def _target(folder: Path, runtime: str, precision: str) -> Path:
    return folder / f"{runtime}-{precision}.onnx"


def _baseline(teacher: Teacher, artefact: Artefact, runtime: Runtime, precision: str, batch_size: int) -> Baseline:
    expected, metric = teacher.dev.teacher_logits, teacher.task.metric
    assert expected is not None
    logits = expected
    if precision != "fp32":
        quantised = Quantised(
            model=teacher.model,
            fp32=artefact.fp32,
            runtime=runtime,
            precision=precision,
            calibration=teacher.train,
            metric=metric,
            batch_size=batch_size,
        )
        artefact, logits = rescue(quantised, artefact, teacher.dev, expected=expected)
    return Baseline(
        precision=precision,
        ms=0.0,
        dev=score(teacher.dev.labels, logits, metric),
        onnx=artefact.path,
        divergence=divergence_of(expected, logits),
        runtime=runtime.name,
        float_layers=artefact.float_layers,
    )


def _plain(baseline: Baseline) -> str:
    return f"{baseline.name}, nothing in fp32"


def _record(baseline: Baseline) -> dict[str, object]:
    kept = baseline.float_layers.model_dump() if baseline.float_layers else None
    return {**vars(baseline), "onnx": baseline.onnx.name, "float_layers": kept}


def _read(note: Path) -> Iterator[Baseline]:
    for record in json.loads(note.read_text(encoding="utf-8")):
        kept = record.get("float_layers")
        known = {"onnx": note.parent / record["onnx"], "float_layers": kept and FloatLayers.model_validate(kept)}
        lengths = {name: tuple(record.get(name, ())) for name in ("by_length", "plain_by_length")}
        yield Baseline(**{**record, **known, **lengths})
