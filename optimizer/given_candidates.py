"""Given candidates: the checkpoint that a person gave, timed as it is beside the teacher, at every precision."""

from __future__ import annotations

import json
import math
from dataclasses import replace

from benchmarks import Budget, compare
from hardware_profiles.latency_model import Prediction
from optimizer import files, refusals
from optimizer.architecture import Architecture
from optimizer.artefact import build
from optimizer.candidates import Candidate
from optimizer.engine import Engine
from optimizer.given_student import GivenStudent
from optimizer.inference import predict
from optimizer.judgement import SAFETY
from optimizer.measuring import measure_models, write_input_pool
from optimizer.progress import Advance
from optimizer.pruning.patterns import Given
from optimizer.scoring import divergence_of
from optimizer.setting import Setting
from optimizer.target import MaxDrop

__all__ = ["given_candidates"]

SECONDS_EACH = 5.0  # a model, as for advice
DIVERGENCE_ROWS = 256
TEACHER = "teacher"

Times = dict[str, Prediction]


def given_candidates(setting: Setting, target_ms: float, advance: Advance = lambda share: None) -> list[Candidate]:
    """The given student at every precision of every runtime that runs any model, refused where it cannot pay.

    What it takes does not depend on what it will have learned: it is measured before it is trained, in turns with the
    teacher, and told on the clock of the teacher's own measurement. None where no student was given.
    """
    given = setting.given
    if given is None:
        return []
    cases = {_name(setting, e, p): (e, p) for e in setting.engines if not e.skips_zeros for p in e.precisions}
    times = _times(setting, given, cases, advance)
    rows = given.train.sample(DIVERGENCE_ROWS, seed=setting.seed)
    assert rows.teacher_logits is not None
    apart = divergence_of(rows.teacher_logits, predict(given.model, rows))
    found = []
    for name, (engine, precision) in cases.items():
        candidate = Candidate(
            name=name,
            pattern=Given(),
            precision=precision,
            runtime=engine.name,
            plan=None,
            architecture=Architecture.of(given.model),
            predicted=times[name],
            estimated_loss=math.inf,
        )
        reason = _refusal(setting, candidate, target_ms)
        loss = apart + setting.baseline(precision, engine.name).divergence
        found.append(candidate.refuse(reason) if reason else replace(candidate, estimated_loss=loss))
    return found


def _refusal(setting: Setting, candidate: Candidate, target_ms: float) -> str | None:
    if setting.precision not in (None, candidate.precision):
        return f"{candidate.name}: only {setting.precision} was allowed"
    if setting.pattern not in (None, candidate.cut):
        return f"{candidate.name}: only {setting.pattern} was allowed"
    if candidate.predicted.ms > target_ms * SAFETY:
        word = "is the first stride" if isinstance(setting.target, MaxDrop) else "wanted"
        return refusals.too_slow_as_it_is(candidate.name, candidate.predicted.ms, f"{target_ms:.2f} ms {word}")
    return None


def _times(setting: Setting, given: GivenStudent, cases: dict[str, tuple[Engine, str]], advance: Advance) -> Times:
    """Milliseconds of each case; read where an earlier run measured them."""
    folder = setting.work / "given"
    note = folder / "latency.json"
    if note.is_file():
        return {name: Prediction(**ms) for name, ms in json.loads(note.read_text(encoding="utf-8")).items()}
    teacher = setting.baselines[0]
    models = {TEACHER: (teacher.onnx, setting.runtime_of_baseline(teacher))}
    for number, (name, (engine, precision)) in enumerate(cases.items()):
        runtime = engine.runtime.at(precision)
        made = build(given.model, given.tokenizer, runtime, precision, folder / str(number), given.dev, given.train)
        models[name] = made.path, runtime
    inputs = write_input_pool(
        folder / "inputs.npz", given.dev, setting.workload, setting.seed, tokens=setting.teacher_tokens
    )
    budget = Budget(max_seconds=SECONDS_EACH * len(models))
    found = measure_models(models, setting.workload, inputs, seed=setting.seed, advance=advance, budget=budget)
    times = {}
    for name in cases:
        faster = compare(found[TEACHER], found[name])
        times[name] = Prediction(*(teacher.ms / ratio for ratio in (faster.speedup, faster.high, faster.low)))
    files.write_text_atomically(note, json.dumps({name: vars(ms) for name, ms in times.items()}, indent=1))
    return times


def _name(setting: Setting, engine: Engine, precision: str) -> str:
    where = "" if engine.name == setting.stock.name else f" on {engine.name}"
    return f"given student {precision}{where}"
