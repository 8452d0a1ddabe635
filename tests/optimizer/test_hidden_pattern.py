"""Fewer hidden dimensions as a way to a smaller model: which sizes, what they cost and lose, what is cut at them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import made_setting as made
import pytest
import torch
from transformers import PreTrainedModel

from benchmarks.errors import TrimfitError
from optimizer.architecture import Architecture, LayerShape
from optimizer.candidates import Candidate
from optimizer.compression import Student, compress, cut_and_train, describe, predicted_ms, untouched
from optimizer.decision import Decision, decide
from optimizer.distillation.catalog import OBJECTIVES, objective_named
from optimizer.distillation.imitation import Imitation
from optimizer.engine import Engine
from optimizer.hidden_choice import hidden_sizes, sizes_below
from optimizer.narrow_teacher import NarrowTeacher
from optimizer.pruning.curves import curve_rows, divergence
from optimizer.pruning.cutting import cut
from optimizer.pruning.hidden_cut import cut_hidden
from optimizer.pruning.hidden_importance import hidden_importance
from optimizer.pruning.patterns import Hidden, Width
from optimizer.race import race
from optimizer.setting import Setting
from optimizer.surgery import LayerPlan, compose, keep
from optimizer.target import LatencyMs, MaxDrop, Speedup

Make = Callable[..., PreTrainedModel]
SHAPES = ("width", "hidden")
SIZE = 8  # of the 16 hidden dimensions; every block takes half as long then


def knowing(setting: Setting, size: int, share: float) -> Setting:
    """The setting with a stock engine that also knows this hidden size, at this share of what blocks take."""
    stock, *others = setting.engines
    narrow = [
        entry.model_copy(
            update={
                "unit": entry.unit.model_copy(update={"hidden_size": size}),
                "seconds": max(share * entry.seconds, 1e-6),
            }
        )
        for entry in stock.profile.entries
        if not entry.unit.sparsity
    ]
    known = Engine(stock.runtime, stock.profile.with_entries(narrow), stock.latency)
    return replace(setting, engines=(known.with_anchor(), *others), hidden_sizes=(*setting.hidden_sizes, size))


@pytest.fixture
def make_setting(make_classifier: Make, tokenizer: object, tmp_path: Path) -> Callable[..., Setting]:
    def made_setting(target: float, **options: object) -> Setting:
        setting = made.setting(make_classifier(), tokenizer, tmp_path / "work", target=LatencyMs(target))
        return replace(knowing(setting, SIZE, 0.5), **options)

    return made_setting


def narrow(decision: Decision, precision: str = "fp32") -> Candidate:
    return made.candidate(decision, f"hidden {SIZE} {precision}", made.STOCK)


# which sizes


@pytest.mark.parametrize(
    ("hidden", "head", "sizes"),
    [(384, 32, (256, 192)), (768, 64, (512, 384)), (312, 26, (192, 160)), (16, 4, (12, 8)), (64, 32, (32,))],
)
def test_two_thirds_and_half_are_tried_at_the_steps_of_kernels(hidden: int, head: int, sizes: tuple[int, ...]) -> None:
    shape = Architecture(hidden_size=hidden, head_size=head, vocab_size=9, layers=(LayerShape(heads=1, ffn=1),))
    assert sizes_below(shape) == sizes


def test_narrower_models_are_tried_unasked_only_for_far_targets(make_setting: Callable[..., Setting]) -> None:
    """The teacher takes 6 ms, 3 in int8, and one block of it half a millisecond."""
    setting = make_setting(1.0)
    shape = Architecture.of(setting.teacher)
    prices = [setting.prices(precision) for precision in ("fp32", "int8")]

    def sizes(ms: float, pattern: str | None = None, precision: str | None = None) -> tuple[int, ...]:
        return hidden_sizes(pattern, precision, LatencyMs(ms), prices, shape)

    assert sizes(0.55) == (12, 8)
    assert sizes(0.7) == (), "3 ms over 0.7 is near"
    assert sizes(1.1, precision="fp32") == (12, 8), "6 ms over 1.1 is not"
    assert sizes(0.45) == (), "nothing of the teacher's own width reaches it"
    assert sizes(0.55, pattern="width") == ()
    assert sizes(5.0, pattern="hidden") == (12, 8)
    assert hidden_sizes(None, None, MaxDrop(1), prices, shape) == ()
    assert hidden_sizes("hidden", None, MaxDrop(1), prices, shape) == (12, 8)
    assert hidden_sizes(None, None, Speedup(6 / 0.55), prices, shape) == (12, 8)


def test_a_model_as_narrow_as_a_head_is_refused(make_setting: Callable[..., Setting]) -> None:
    shape = Architecture(hidden_size=32, head_size=32, vocab_size=9, layers=(LayerShape(heads=1, ffn=1),))
    with pytest.raises(TrimfitError, match="as narrow as one head, 32"):
        hidden_sizes("hidden", None, LatencyMs(1.0), [], shape)


# what they cost and lose


def test_prices_are_those_of_the_size(make_setting: Callable[..., Setting]) -> None:
    setting = replace(make_setting(1.0))
    prices = setting.prices("fp32")
    assert (prices.layer_ms(4, 12), prices.at(SIZE).layer_ms(4, 12)) == (pytest.approx(2.0), pytest.approx(1.0))
    shape = prices.architecture.model_copy(update={"hidden_size": SIZE})
    assert prices.predict(shape).ms == prices.at(SIZE).predict(shape).ms == pytest.approx(3.0)
    in_fp32 = replace(setting.prices("int8"), in_fp32={"ffn": 1.0})
    assert in_fp32.predict(shape).ms == pytest.approx(3 * 0.25 + 3 * 0.5)
    with pytest.raises(TrimfitError, match="hidden size 12"):
        prices.at(12).layer_ms(4, 12)


def test_dimensions_go_first_and_heads_and_neurons_only_where_that_is_not_enough(
    make_setting: Callable[..., Setting],
) -> None:
    decision = decide(make_setting(3.2, pattern="hidden"))
    further = decide(make_setting(2.1, pattern="hidden"))
    for found, most in ((narrow(decision), 6), (narrow(further), 4)):
        assert found.architecture.hidden_size == SIZE
        blocks = sum(bool(width) for layer in found.architecture.layers for width in (layer.heads, layer.ffn))
        assert most / 2 < blocks <= most, "of half a millisecond each"
        assert found.predicted.ms == pytest.approx(blocks / 2, rel=0.01)
    assert {c.refused for c in decision.candidates if c.name == "width fp32"} == {"width fp32: only hidden was allowed"}


def test_its_loss_is_that_of_the_model_which_has_lost_them(
    make_setting: Callable[..., Setting], make_classifier: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optimizer.inference.trains_in_bf16", lambda: False)
    teacher = make_classifier()
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.mul_(3)  # so that answers differ between rows
    rows = made.rows(teacher)
    setting = make_setting(2.1, pattern="hidden", teacher=teacher, train=rows, dev=rows)
    found = narrow(decide(setting))
    assert found.plan is not None
    model, _ = cut(NarrowTeacher.of(setting, SIZE).model, found.pattern, found.plan, setting.calibration)
    expected = divergence(model, curve_rows(model, setting.calibration))
    assert expected > 1e-3
    assert found.estimated_loss == pytest.approx(expected, rel=1e-3)


def test_the_most_important_dimensions_stay(make_classifier: Make) -> None:
    teacher = make_classifier()
    rows = made.rows(teacher)
    before = copy.deepcopy(teacher.state_dict())
    _, report = cut_hidden(teacher, 3, rows, "second-order")
    best = set(hidden_importance(teacher, rows, "fisher").argsort()[-3:].tolist())
    assert set(report.dimensions or ()) == best
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    _, report = cut_hidden(teacher, 3, rows, "magnitude")
    assert set(report.dimensions or ()) == set(hidden_importance(teacher, rows, "magnitude").argsort()[-3:].tolist())


def test_a_target_that_the_whole_teacher_reaches_needs_no_narrower_one(make_setting: Callable[..., Setting]) -> None:
    found = narrow(decide(make_setting(7.0, pattern="hidden")))
    assert found.refused == ("hidden 8 fp32: nothing has to be cut to reach 7.00 ms, the same model as dense fp32")


def test_a_size_that_is_too_slow_at_its_smallest_says_what_it_takes(make_setting: Callable[..., Setting]) -> None:
    found = narrow(decide(make_setting(0.4, pattern="hidden")))
    assert found.refused == "hidden 8 fp32: even its smallest shape takes 0.50 ms, 0.40 ms wanted"


def test_without_sizes_there_is_no_such_candidate(make_setting: Callable[..., Setting]) -> None:
    decision = decide(make_setting(2.1, hidden_sizes=()))
    assert not [c.name for c in decision.candidates if isinstance(c.pattern, Hidden)]


def test_a_record_gives_the_candidate_back(make_setting: Callable[..., Setting]) -> None:
    setting = make_setting(2.1, pattern="hidden", importance="taylor")
    found = narrow(decide(setting))
    record = found.record(6.0, chosen=True)
    assert (record.cut, record.hidden_size, record.pattern) == ("hidden", SIZE, "structured")
    again = Candidate.from_record(record, Architecture.of(setting.teacher))
    assert again.pattern == found.pattern == Hidden("taylor", size=SIZE)
    assert again.architecture == found.architecture
    older = record.model_copy(update={"hidden_size": None, "cut": "width"})
    assert Candidate.from_record(older, Architecture.of(setting.teacher)).architecture.hidden_size == 16


# compression


@pytest.fixture
def setting(make_setting: Callable[..., Setting]) -> Setting:
    return make_setting(2.1, pattern="hidden", precision="fp32", effort=replace(made.EFFORT, rounds=3))


def test_the_first_round_narrows_and_the_next_cut_at_that_size(setting: Setting) -> None:
    decision = decide(setting)
    student = compress(setting, narrow(decision), 2.1, decision.view)
    first, second = student.rounds
    assert [r.name for r in student.rounds] == ["round 1 of 3", "round 2 of 3"], "there is nothing left for a third"
    assert {r.hidden_size for r in student.rounds} == {SIZE}
    assert first.layers == (LayerShape(heads=4, ffn=12),) * 3, "3.2 ms are the first stage on the way from 6 to 2"
    assert first.predicted_ms == pytest.approx(3.0)
    assert second.predicted_ms <= 2.1
    assert Architecture.of(student.model) == student.origin.after
    assert len(student.origin.dimensions or ()) == SIZE
    assert describe(student).startswith("hidden 8, heads ")


def test_a_narrow_student_comes_back_from_disk(setting: Setting, tmp_path: Path) -> None:
    student = compress(setting, narrow(decide(setting)), 2.1)
    student.save(tmp_path / "student")
    again = Student.load(tmp_path / "student")
    assert (again.origin, again.form, again.hidden_size) == (student.origin, student.form, SIZE)
    assert all(torch.equal(v, again.model.state_dict()[name]) for name, v in student.model.state_dict().items())


def test_the_narrow_teacher_is_made_once_and_given_anew(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    first = NarrowTeacher.of(setting, SIZE)
    monkeypatch.setattr("optimizer.narrow_teacher.cut_hidden", None)
    again = NarrowTeacher.of(setting, SIZE)
    assert again.origin == first.origin
    assert again.model is not first.model
    assert all(torch.equal(v, again.model.state_dict()[name]) for name, v in first.model.state_dict().items())


def test_a_missed_target_is_cut_for_at_the_same_size(setting: Setting) -> None:
    winner = narrow(decide(setting))
    student = compress(setting, winner, 2.1)
    taught = setting.corrected("student 1", winner, *student.form, 3.0)
    assert predicted_ms(taught, winner, student) == pytest.approx(3.0, rel=0.05)
    smaller = cut_and_train(taught, student, winner, 1.8, name="correction 1", minutes=0.01, only_smaller=True)
    assert smaller.hidden_size == SIZE
    assert smaller.origin.dimensions == student.origin.dimensions
    assert predicted_ms(taught, winner, smaller) < predicted_ms(taught, winner, student)


def test_narrow_and_wide_students_race(make_setting: Callable[..., Setting], monkeypatch: pytest.MonkeyPatch) -> None:
    setting = make_setting(2.1)
    seen: list[tuple[int, int]] = []

    def score(model: PreTrainedModel, _: Setting, candidate: Candidate, __: object) -> float:
        seen.append((Architecture.of(model).hidden_size, candidate.architecture.hidden_size))
        return float(isinstance(candidate.pattern, Hidden))

    monkeypatch.setattr("optimizer.race.deployed_score", score)
    monkeypatch.setattr("optimizer.race._train", lambda *_: 1)
    monkeypatch.setattr("optimizer.decision.finalists", lambda all_, most: [c for c in all_ if c.cut in SHAPES])
    decision = race(setting, decide(setting))
    assert {(16, 16), (SIZE, SIZE)} == set(seen)
    assert decision.winner is not None
    assert isinstance(decision.winner.pattern, Hidden)
    assert not isinstance(Width(), Hidden)


# distillation


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_teaches_a_narrow_student(name: str, family: str, make_classifier: Make, batch: dict) -> None:
    teacher = make_classifier(family)
    rows = made.rows(teacher, 16)
    student, first = cut_hidden(teacher, SIZE, rows, "fisher")
    student, second = keep(student, [LayerPlan(heads=(0, 2), ffn=(1, 5)), None, LayerPlan(heads=(1,), ffn=(0, 3, 7))])
    origin = compose(first, second)
    answers = teacher(**batch).logits.detach()
    imitation = Imitation(objective_named(name), student, teacher, origin).train()
    for share in (0.0, 0.9):
        imitation(**batch, labels=answers.argmax(1), teacher_logits=answers, share=share).backward()
    assert all(torch.isfinite(p.grad).all() for p in student.parameters() if p.grad is not None)
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in student.parameters())


def test_projections_start_with_each_dimension_in_its_old_place(make_classifier: Make) -> None:
    teacher = make_classifier()
    student, origin = cut_hidden(teacher, SIZE, made.rows(teacher), "fisher")
    imitation = Imitation(objective_named("tinybert"), student, teacher, origin)
    states = torch.arange(1.0, 1 + SIZE)
    found = imitation.projections["hidden"](states)
    expected = torch.zeros(16)
    expected[list(origin.dimensions or ())] = states
    assert torch.equal(found, expected)


def test_a_teacher_that_was_not_narrowed_starts_whole(setting: Setting) -> None:
    assert untouched(setting).hidden_size is None
    assert describe(untouched(setting)).startswith("heads 4 4 4")
