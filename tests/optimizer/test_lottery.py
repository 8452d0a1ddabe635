"""Schedules: one cut, ever smaller cuts, and the lottery, whose survivors begin anew after each."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import made_setting as made
import pytest
import torch
from safetensors.torch import load_file
from transformers import PreTrainedModel

from optimizer import compression, workflow
from optimizer.candidates import Candidate
from optimizer.compression import Student, compress, round_minutes, untouched
from optimizer.cut_schedule import cuts_of
from optimizer.decision import decide
from optimizer.pruning.lottery import KeepEarly, plan_of, rewound, with_weights
from optimizer.pruning.patterns import Unstructured
from optimizer.pruning.zeros import linear_weights, set_zeros
from optimizer.setting import Setting
from optimizer.surgery import LayerPlan, SurgeryReport, compose, keep, keep_hidden
from optimizer.target import MaxDrop

Make = Callable[..., PreTrainedModel]


def test_zeros_stay_and_all_else_is_as_it_was_in_the_beginning(make_classifier: Make) -> None:
    start, trained = make_classifier(num_hidden_layers=2), make_classifier(num_hidden_layers=2, seed=1)
    set_zeros(trained, Unstructured(0.5, "magnitude"))
    origin = SurgeryReport.untouched(architecture(start))
    before = {name: value.clone() for name, value in start.state_dict().items()}
    found = rewound(trained, start, origin)
    masks = [weight != 0 for weight in linear_weights(trained)]
    for weight, mask, first in zip(linear_weights(found), masks, linear_weights(start), strict=True):
        assert torch.equal(weight, first * mask)
    linear = {name for name, p in found.named_parameters() if any(p is w for w in linear_weights(found))}
    assert all(torch.equal(value, before[name]) for name, value in found.state_dict().items() if name not in linear)
    assert all(torch.equal(value, before[name]) for name, value in start.state_dict().items()), "the start stays whole"


def test_what_was_removed_in_two_cuts_is_removed_from_the_start(make_classifier: Make) -> None:
    start, trained = make_classifier(), make_classifier(seed=1)
    plans = (
        [LayerPlan(heads=(0, 2, 3), ffn=tuple(range(8))), None, LayerPlan(heads=(1,), ffn=())],
        [LayerPlan(heads=(1, 2), ffn=(0, 5)), LayerPlan(heads=(), ffn=())],
    )
    origin = SurgeryReport.untouched(architecture(trained))
    for plan in plans:
        trained, report = keep(trained, plan)
        origin = compose(origin, report)
    assert plan_of(origin) == [LayerPlan(heads=(2, 3), ffn=(0, 5)), None, LayerPlan(heads=(), ffn=())]
    expected, _ = keep(copy.deepcopy(start), plan_of(origin))
    found = rewound(trained, start, origin)
    assert architecture(found) == architecture(trained)
    assert all(torch.equal(value, expected.state_dict()[name]) for name, value in found.state_dict().items())


def test_a_narrowed_model_goes_back_to_the_weights_of_the_dimensions_it_kept(make_classifier: Make) -> None:
    start, trained = make_classifier(), make_classifier(seed=1)
    dimensions = tuple(range(0, start.config.hidden_size, 2))
    trained, origin = keep_hidden(trained, dimensions)
    found = rewound(trained, start, origin)
    expected, _ = keep_hidden(make_classifier(), dimensions)
    assert architecture(found) == architecture(trained)
    assert all(torch.equal(value, expected.state_dict()[name]) for name, value in found.state_dict().items())


def test_early_weights_are_those_of_a_twentieth_of_the_steps(make_classifier: Make, tmp_path: Path) -> None:
    model, path = make_classifier(), tmp_path / "early.safetensors"
    early = KeepEarly(model, path)
    for step in range(1, 61):
        with torch.no_grad():
            model.classifier.bias.fill_(float(step))
        early.on_step_end(None, SimpleNamespace(global_step=step, max_steps=60), None)
    assert load_file(path)["classifier.bias"].tolist() == [3.0] * 3
    assert with_weights(make_classifier(seed=1), path).classifier.bias.tolist() == [3.0] * 3


def test_one_shot_and_movement_cut_once() -> None:
    assert [cuts_of(schedule, 6) for schedule in ("gradual", "one-shot", "lottery", "lottery-early")] == [6, 1, 6, 6]
    assert cuts_of("gradual", 6, "movement") == 1


# the main job


@pytest.fixture
def make_setting(make_classifier: Make, tokenizer: object, tmp_path: Path) -> Callable[..., Setting]:
    return lambda **options: made.setting(make_classifier(), tokenizer, tmp_path / "work", **options)


def winner_of(setting: Setting, name: str, runtime: str) -> Candidate:
    return made.candidate(decide(setting), name, runtime)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[PreTrainedModel]:
    """The models as training begins; training moves every weight that is not zero."""
    seen: list[PreTrainedModel] = []

    def train(model: PreTrainedModel, *args: Any, folder: Path, schedule: Any, callbacks: Any, **_: Any) -> Any:
        seen.append(copy.deepcopy(model))
        with torch.no_grad():
            for step in range(1, 21):
                for parameter in model.parameters():
                    parameter.add_(0.001 * torch.sign(parameter))
                for callback in callbacks:
                    callback.on_step_end(None, SimpleNamespace(global_step=step, max_steps=20), None)
        return SimpleNamespace(steps=20, seconds=0.0, best_dev=1.0, kept_start=False, best_step=20)

    monkeypatch.setattr(compression, "train", train)
    monkeypatch.setattr(compression, "steps_within", lambda *args, **options: 20)
    return seen


def architecture(model: PreTrainedModel) -> Any:
    from optimizer.architecture import Architecture

    return Architecture.of(model)


def is_of(model: PreTrainedModel, start: PreTrainedModel) -> bool:
    """Whether every weight that is left is the start's."""
    return all(
        torch.equal(now[now != 0], first[now != 0])
        for now, first in zip(linear_weights(model), linear_weights(start), strict=True)
    )


def test_one_shot_cuts_once_and_trains_as_long_as_all_rounds(
    make_setting: Callable[..., Setting], trained: list[PreTrainedModel]
) -> None:
    setting = make_setting(schedule="one-shot")
    winner = winner_of(setting, "unstructured", made.SPARSE)
    student = compress(setting, winner, 2.0)
    assert [(r.name, r.sparsity) for r in student.rounds] == [("round 1 of 1", 0.84)]
    assert round_minutes(setting, winner) == setting.effort.compress_minutes
    assert len(trained) == 1


def test_a_lottery_trains_first_and_begins_anew_after_every_cut(
    make_setting: Callable[..., Setting], trained: list[PreTrainedModel]
) -> None:
    setting = make_setting(schedule="lottery")
    winner = winner_of(setting, "unstructured", made.SPARSE)
    student = compress(setting, winner, 2.0)
    assert [r.name for r in student.rounds] == ["first training", "round 1 of 2", "round 2 of 2"]
    assert all(is_of(model, setting.teacher) for model in trained)
    assert not is_of(student.model, setting.teacher)
    assert [round(float((linear_weights(m)[0] == 0).float().mean()), 2) for m in trained] == pytest.approx(
        [0.0, 0.84 * 7 / 8, 0.84], abs=0.01
    )
    assert round_minutes(setting, winner) == setting.effort.compress_minutes / 3


def test_weights_are_chosen_as_trained_and_not_as_in_the_beginning(
    make_setting: Callable[..., Setting], monkeypatch: pytest.MonkeyPatch, trained: list[PreTrainedModel]
) -> None:
    """The first training makes what was smallest largest: that survives, with its first, small value."""
    setting = make_setting(schedule="lottery", zeros_by="magnitude")
    winner = winner_of(setting, "unstructured", made.SPARSE)
    train = compression.train

    def turning(model: PreTrainedModel, *args: Any, **options: Any) -> Any:
        if not len(trained):
            report = train(model, *args, **options)
            with torch.no_grad():
                for weight in linear_weights(model):
                    weight.copy_(torch.sign(weight) / weight.abs())
            return report
        return train(model, *args, **options)

    monkeypatch.setattr(compression, "train", turning)
    compress(setting, winner, 2.0)
    first, last = linear_weights(setting.teacher)[0].abs(), linear_weights(trained[1])[0]
    assert first[last != 0].max() <= first[last == 0].min()
    assert is_of(trained[1], setting.teacher)


def test_lottery_early_goes_back_to_the_weights_of_an_early_step(
    make_setting: Callable[..., Setting], trained: list[PreTrainedModel]
) -> None:
    setting = make_setting(schedule="lottery-early")
    compress(setting, winner_of(setting, "unstructured", made.SPARSE), 2.0)
    early = with_weights(setting.teacher, setting.work / "first-training" / "early.safetensors")
    assert is_of(trained[0], setting.teacher)
    assert not is_of(early, setting.teacher)
    assert is_of(trained[1], early)
    assert is_of(trained[2], early)


@pytest.mark.parametrize(("name", "runtime"), [("width fp32", made.STOCK), ("depth", made.STOCK)])
def test_any_pattern_can_draw_lots(
    make_setting: Callable[..., Setting], trained: list[PreTrainedModel], name: str, runtime: str
) -> None:
    setting = make_setting(schedule="lottery")
    winner = next(c for c in decide(setting).candidates if c.name.startswith(name) and c.runtime == runtime and c.plan)
    student = compress(setting, winner, 2.0)
    expected, _ = keep(copy.deepcopy(setting.teacher), plan_of(student.origin))
    assert architecture(trained[-1]) == student.origin.after != student.origin.before
    assert is_of(trained[-1], expected)


def test_a_stopped_lottery_goes_on_where_it_was(
    make_setting: Callable[..., Setting], trained: list[PreTrainedModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = make_setting(schedule="lottery-early")
    winner = winner_of(setting, "unstructured", made.SPARSE)
    train = compression.train

    def killed(model: PreTrainedModel, *args: Any, **options: Any) -> Any:
        if len(trained) == 2:
            raise KeyboardInterrupt
        return train(model, *args, **options)

    with monkeypatch.context() as stopping:
        stopping.setattr(compression, "train", killed)
        with pytest.raises(KeyboardInterrupt):
            compress(setting, winner, 2.0)
    student = compress(setting, winner, 2.0)
    assert len(trained) == 3, "the first training and the first round were not done again"
    early = with_weights(setting.teacher, setting.work / "first-training" / "early.safetensors")
    assert is_of(trained[2], early)
    assert [r.name for r in student.rounds] == ["first training", "round 1 of 2", "round 2 of 2"]


def test_a_search_for_the_score_cuts_once_from_the_teacher_each_time(
    make_setting: Callable[..., Setting], monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = make_setting(target=MaxDrop(1), schedule="one-shot")
    winner = winner_of(setting, "unstructured", made.SPARSE)
    started, more = [], iter([0.8, 0.9, 0.9])

    def cut(setting: Setting, student: Student, winner: Candidate, budget_ms: float, **_: object) -> Student:
        started.append(student.sparsity)
        return replace(student, sparsity=next(more))

    monkeypatch.setattr(workflow, "cut_and_train", cut)
    trail = workflow._trail(setting, winner, untouched(setting), lowest=0.0)
    assert [student.sparsity for student in trail] == [0.0, 0.8, 0.9]
    assert started == [0.0, 0.0, 0.0]
