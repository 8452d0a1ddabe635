"""What the winner's shape takes is measured before it is trained, and aimed with from then on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import made_setting as made
import pytest
from transformers import PreTrainedModel

from optimizer import compression, shape_trial, workflow
from optimizer.compression import compress, predicted_ms, unused_minutes
from optimizer.decision import Decision, decide
from optimizer.setting import Setting

Make = Callable[..., PreTrainedModel]


@pytest.fixture
def setting(make_classifier: Make, tokenizer: object, tmp_path: Path) -> Setting:
    found = made.setting(make_classifier(), tokenizer, tmp_path / "work")
    found.work.mkdir()
    return found


@pytest.fixture
def decision(setting: Setting) -> Decision:
    found = decide(setting)
    winner = made.candidate(found, "width int8", made.STOCK)
    return replace(found, winner=winner, winner_model=setting.teacher)


def test_a_shape_is_told_on_the_clock_of_the_teachers_first_time(
    setting: Setting, decision: Decision, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed: dict[str, Any] = {}

    def measure(models: Any, *_: Any, **__: Any) -> dict[str, Any]:
        timed.update(models)
        slower = 1.25 * made.DENSE_MS["int8"] / 1e3
        lengths = [(SimpleNamespace(median=ms / 1e3), 0.5) for ms in (1.0, 2.0)]
        return {"teacher int8": SimpleNamespace(median=slower), "student": SimpleNamespace(parts=lengths)}

    monkeypatch.setattr(shape_trial, "measure_models", measure)
    assert decision.winner is not None
    found = shape_trial.shape_trial(setting, decision.winner, setting.teacher)
    assert found == pytest.approx((0.8, 1.6))
    assert timed["teacher int8"][0] == setting.baseline("int8").onnx
    assert timed["student"][0].name == "int8.onnx"


def test_what_was_measured_is_kept_and_taught(
    setting: Setting, decision: Decision, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert decision.winner is not None
    ms = 0.8 * decision.winner.predicted.ms
    monkeypatch.setattr(workflow, "shape_trial", lambda *_: (ms,))
    tried = workflow._tried(setting, decision)
    workflow.decision_record(setting, tried).write(setting.work)
    again = workflow._read_decision(setting)
    assert again.winner is not None
    assert again.winner.tried_ms == (ms,)
    taught = workflow._taught(setting, again.winner)
    prices = taught.prices("int8", made.STOCK)
    assert prices.predict(again.winner.architecture).ms == pytest.approx(ms, rel=0.02)
    assert workflow._taught(setting, replace(again.winner, tried_ms=())) is setting


def test_a_round_that_can_cut_nothing_leaves_its_minutes_to_the_recovery(
    setting: Setting, decision: Decision, monkeypatch: pytest.MonkeyPatch
) -> None:
    winner = decision.winner
    assert winner is not None
    monkeypatch.setattr(compression, "budgets", lambda start, target, rounds: [target] * rounds)
    student = compress(setting, winner, decision.target_ms)
    assert [r.name for r in student.rounds] == ["round 1 of 2"]
    assert predicted_ms(setting, winner, student) <= decision.target_ms
    assert unused_minutes(setting, winner, student) == pytest.approx(setting.effort.compress_minutes / 2)
