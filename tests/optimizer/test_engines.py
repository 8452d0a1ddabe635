"""Another runtime that runs models as they are is one more engine: judged, compared and named like the stock one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import made_setting as made
import pytest
from transformers import PreTrainedModel

from hardware_profiles import LatencyModel
from optimizer.decision import decide
from optimizer.engine import Engine
from optimizer.setting import Baseline, Setting
from optimizer.target import LatencyMs

OTHER = "openvino-ep"
TWICE_AS_FAST = {precision: ms / 2 for precision, ms in made.DENSE_MS.items()}


@pytest.fixture
def setting(make_classifier: Callable[..., PreTrainedModel], tokenizer: object, tmp_path: Path) -> Setting:
    """3.2 ms are wanted; the stock runtime takes 6 and 3, a second one 3 and 1.5."""
    plain = made.setting(make_classifier(), tokenizer, tmp_path / "work", target=LatencyMs(3.2))
    stock, sparse = plain.engines
    entries = (e.model_copy(update={"seconds": e.seconds / 2}) for e in stock.profile.entries)
    record = stock.profile.runtime_record.model_copy(update={"name": OTHER})
    profile = stock.profile.with_entries(entries).model_copy(update={"runtime_record": record})
    runtime = SimpleNamespace(name=OTHER, precisions=("fp32", "int8"), options=dict)
    other = Engine(runtime, profile, LatencyModel().fit(profile))
    files = (Baseline(p, ms, 1.0, tmp_path / f"other-{p}.onnx", 0.25, runtime=OTHER) for p, ms in TWICE_AS_FAST.items())
    return replace(plain, engines=(stock, sparse, other), baselines=(*plain.baselines, *files))


def test_every_pattern_is_judged_with_every_runtime_at_its_own_latency(setting: Setting) -> None:
    decision = decide(setting)
    names = [candidate.name for candidate in decision.candidates]
    assert len(set(names)) == len(names)
    for precision, ms in TWICE_AS_FAST.items():
        found = made.candidate(decision, f"dense {precision} on {OTHER}", OTHER)
        assert found.predicted.ms == pytest.approx(ms)
    fp32 = made.candidate(decision, "dense fp32", OTHER)
    assert fp32.refused is None or "nats of estimated loss" in fp32.refused
    assert "the teacher itself" in str(made.candidate(decision, "dense fp32", made.STOCK).refused)


def test_a_runtimes_own_rounding_is_what_it_loses(setting: Setting) -> None:
    decision = decide(setting)
    assert made.candidate(decision, "dense int8", OTHER).estimated_loss == pytest.approx(0.25)
    assert made.candidate(decision, "dense int8", made.STOCK).estimated_loss == pytest.approx(0.0)


def test_the_strongest_dense_contestant_may_be_of_another_runtime(setting: Setting) -> None:
    strongest = min(setting.allowed_baselines, key=lambda b: b.ms)
    assert (strongest.name, strongest.versus) == (f"teacher int8 {OTHER}", f"teacher int8 {OTHER}")
    assert decide(setting).dense(strongest).runtime == OTHER
    assert setting.baselines[0].name == "teacher fp32"
    assert setting.baselines[0].versus == "teacher fp32 onnxruntime-cpu"


def test_a_runtime_without_a_baseline_of_its_own_has_the_stock_ones(setting: Setting) -> None:
    assert setting.baseline("int8", made.SPARSE).runtime == made.STOCK
    assert setting.baseline("int8", OTHER).runtime == OTHER
    assert setting.baseline("int8").runtime == made.STOCK
