"""A setting made by hand: a tiny teacher on a machine whose every cost is known, with and without sparse operators."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from transformers import PreTrainedModel

from benchmarks.workload import Workload
from hardware_profiles import Device, LatencyModel, LatencyProfile, RuntimeRecord, Unit, UnitTiming
from hardware_profiles.runtimes import OnnxRuntimeCpu
from optimizer.candidates import Candidate, PricesAt
from optimizer.decision import Decision
from optimizer.distillation.objectives import SoftTargets
from optimizer.effort import Effort
from optimizer.encoding import Encoded
from optimizer.engine import Engine
from optimizer.inference import predict
from optimizer.progress import Silent
from optimizer.setting import Baseline, Setting
from optimizer.target import LatencyMs, Target
from optimizer.tasks import Rows, Task

WORKLOAD = Workload(batch=1, seq_len=8, threads=1)
STOCK, SPARSE = "onnxruntime-cpu", "onnxruntime-cpu+sparse"
HIDDEN, HEAD, HEADS, FFN, LAYERS = 16, 4, 4, 12, 3
BLOCK_MS = 1.0  # of attention and of an FFN at full width; a model takes 6 such and nothing else
DENSE_MS = {"fp32": 2 * LAYERS * BLOCK_MS, "int8": LAYERS * BLOCK_MS}
EFFORT = Effort("tiny", 0.05, 1, 0.02, 2, 2, 0.02, 0.02, 1, 32, "fast")
TEXTS = ("the film was good", "it was bad", "a fine plot and so good", "dull", "a very bad cast", "not good")


def profile(name: str, ratio: dict[str, float]) -> LatencyProfile:
    """At each precision zeros make a block as fast as `ratio`, at 50 % of zeros 1 and at 90 % ten times less."""
    pattern = {"fp32": "unstructured", "int8": "block" if name == SPARSE else "unstructured"}
    entries = []
    for precision, full in DENSE_MS.items():
        each = full / (2 * LAYERS)
        times = [("dense", 0.0, 0.0), ("dense", 1.0, 0.0)]
        times += [(pattern[precision], 1.0, s) for s in (0.5, 0.7, 0.8, 0.9, 0.95)]
        for word, share, sparsity in times:
            part = share * (1 if not sparsity else max(ratio[precision], 2 * (1 - sparsity)))
            entries += [timing(kind, word, share, sparsity, precision, each * part) for kind in ("attention", "ffn")]
    return LatencyProfile(
        device=DEVICE, runtime=RuntimeRecord(name=name, version="1", options={}), entries=tuple(entries)
    )


def timing(kind: Any, pattern: Any, share: float, sparsity: float, precision: str, ms: float) -> UnitTiming:
    width = round(share * (HEADS if kind == "attention" else FFN))
    unit = Unit(kind=kind, hidden_size=HIDDEN, head_size=HEAD, width=width, pattern=pattern, sparsity=sparsity)
    seconds = max(ms, 1e-3) * 1e-3
    return UnitTiming(
        unit=unit, workload=WORKLOAD, precision=precision, repeat=1, seconds=seconds, iqr=0, n=9, glue_seconds=0
    )


DEVICE = Device(name="slide rule", isa=("wood",), cores=1, machine="x86_64", system="Linux")


def engines(pays: dict[str, bool], sparse_runtime: Any) -> tuple[Engine, ...]:
    """The stock runtime, and one that skips the zeros of the precisions where that `pays`."""
    stock = profile(STOCK, {"fp32": 1.0, "int8": 1.0})
    sparse = profile(SPARSE, {precision: 0.0 if pays[precision] else 1.0 for precision in DENSE_MS}).over(stock)
    return (
        Engine(OnnxRuntimeCpu(), stock, LatencyModel().fit(stock)),
        Engine(sparse_runtime, sparse, LatencyModel().fit(sparse), skips_zeros=True),
    )


def rows(teacher: PreTrainedModel, count: int = 48) -> Encoded:
    rng = np.random.default_rng(0)
    ids = tuple([0, *rng.integers(4, 24, rng.integers(2, 7)).tolist(), 2] for _ in range(count))
    some = Encoded(ids, np.zeros(count, int), pad_token_id=1)
    answers = predict(teacher, some)
    return replace(some, labels=answers.argmax(1)).with_teacher(answers)


def setting(
    teacher: PreTrainedModel,
    tokenizer: Any,
    work: Path,
    *,
    target: Target | None = None,
    pays: dict[str, bool] | None = None,
    sparse_runtime: Any = None,
    zeros_by: Any = "second-order-even",  # whose figures can be worked out by hand
    schedule: Any = "gradual",
) -> Setting:
    data = rows(teacher)
    known = Rows(TEXTS, np.zeros(len(TEXTS), int))
    return Setting(
        task=Task(("bad", "mixed", "good"), known, known, None),
        tokenizer=tokenizer,
        teacher=teacher,
        train=data,
        dev=data,
        test=None,
        device=DEVICE,
        engines=engines(
            pays or {"fp32": True, "int8": False},
            sparse_runtime or SimpleNamespace(name=SPARSE, precisions=("fp32", "int8"), options=dict),
        ),
        workload=WORKLOAD,
        baselines=tuple(Baseline(p, ms, 1.0, work / f"{p}.onnx", 0.0) for p, ms in DENSE_MS.items()),
        target=target or LatencyMs(2.0),
        effort=EFFORT,
        objective=SoftTargets(),
        seed=0,
        work=work,
        progress=Silent(),
        max_tokens=16,
        zeros_by=zeros_by,
        schedule=schedule,
    )


def candidate(decision: Decision, start: str, runtime: str) -> Candidate:
    (found,) = [c for c in decision.candidates if c.name.startswith(start) and c.runtime == runtime]
    return found


def prices(made: Setting, precision: str = "fp32") -> PricesAt:
    return made.prices(precision, SPARSE)
