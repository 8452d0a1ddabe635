"""Which rows a distillation uses, in what order and with what weight: by hand, and what a training then sees."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from benchmarks.errors import TrimfitError
from optimizer.distillation.imitation import Imitation
from optimizer.distillation.objectives import CrossEntropy, SoftTargets
from optimizer.distillation.pacing import competence, paced, shuffled
from optimizer.distillation.row_choice import rows_to_train_on, usable
from optimizer.distillation.rows import (
    RULES,
    AllRows,
    Curriculum,
    Disagreed,
    Distinct,
    Uncertain,
    Weighted,
    chosen,
    order_of,
    rule_named,
    weights,
)
from optimizer.distillation.trainer import Schedule, steps_within, train
from optimizer.distillation.uncertainty import disagreement, entropy, margin
from optimizer.encoding import Encoded
from optimizer.inference import predict

Make = Callable[..., PreTrainedModel]
EVEN, SURE = [0.0, 0.0], [np.log(3), 0.0]  # (1/2, 1/2) and (3/4, 1/4)
CERTAIN = [1000.0, 0.0]


def some_rows(logits: list[list[float]], ids: tuple[list[int], ...] | None = None) -> Encoded:
    ids = ids or tuple([0, 5 + i, 2] for i in range(len(logits)))
    return Encoded(ids, np.zeros(len(logits), int), 1).with_teacher(np.array(logits))


# formulas


def test_entropy_is_in_nats_and_none_where_a_class_is_certain() -> None:
    by_hand = 0.75 * np.log(4 / 3) + 0.25 * np.log(4)
    np.testing.assert_allclose(entropy(np.array([EVEN, SURE, CERTAIN])), [np.log(2), by_hand, 0], atol=1e-12)


def test_the_margin_is_between_the_two_likeliest() -> None:
    np.testing.assert_allclose(margin(np.array([[0.0, 0, -1e3], [np.log(6), np.log(3), 0]])), [0, 0.3], atol=1e-12)


def test_a_committee_disagrees_by_its_divergence_from_its_mean() -> None:
    first, second = np.array([SURE, CERTAIN, SURE]), np.array([SURE, CERTAIN[::-1], SURE[::-1]])
    by_hand = 0.75 * np.log(1.5) + 0.25 * np.log(0.5)
    np.testing.assert_allclose(disagreement(first, second), [0, np.log(2), by_hand], atol=1e-12)


def test_competence_grows_by_the_root_of_time() -> None:
    assert [competence(t, 0.6, 1) for t in (0, 0.5, 1, 2)] == [0.6, np.sqrt(0.5 * 0.64 + 0.36), 1, 1]


def test_batches_come_from_the_rows_that_are_open() -> None:
    order = np.array([3, 1, 0, 2])
    rows = paced(order, np.ones(4), steps=10, batch_size=1, start=0.25, until=1, seed=0)
    opened = [int(np.ceil(4 * competence(step / 10, 0.25, 1))) for step in range(10)]
    assert opened[0] == 1
    assert opened[-1] == 4
    assert all(row in order[:count] for row, count in zip(rows, opened, strict=True))


def test_a_batch_is_filled_where_fewer_rows_are_open_and_no_row_comes_twice_before_all_came() -> None:
    rows = paced(np.arange(8), np.ones(8), steps=20, batch_size=4, start=0.1, until=0.5, seed=0)
    windows = rows.reshape(10, 8)
    assert sorted(windows[0]) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert sorted(windows[-1]) == list(range(8))


def test_rows_of_similar_length_meet() -> None:
    lengths = np.arange(64)[::-1].copy()
    batches = lengths[paced(np.arange(64), lengths, steps=80, batch_size=8, start=1, until=1, seed=0)].reshape(10, 8, 8)
    assert all(len({int(length) // 8 for length in batch}) == 1 for window in batches for batch in window)


def test_shuffled_rows_come_once_each_in_batches_of_like_length_in_any_order() -> None:
    lengths = np.arange(6400) % 97
    rows = shuffled(lengths, steps=150, batch_size=64, seed=0)
    assert sorted(rows[:6400]) == list(range(6400))
    assert len(set(rows[6400:])) == 50 * 64
    batches = lengths[rows].reshape(150, 64)
    assert (np.ptp(batches, axis=1) <= 3).all()
    means = batches[:50].mean(axis=1)
    assert abs(np.corrcoef(means, np.arange(50))[0, 1]) < 0.5
    assert np.array_equal(rows, shuffled(lengths, steps=150, batch_size=64, seed=0))
    assert not np.array_equal(rows, shuffled(lengths, steps=150, batch_size=64, seed=1))


# rules


def test_rules_choose_by_the_teacher_and_the_student() -> None:
    rows = some_rows([CERTAIN, EVEN, SURE, SURE[::-1]])
    assert chosen(AllRows(), rows).tolist() == [0, 1, 2, 3]
    assert chosen(Uncertain(), rows).tolist() == [1, 2]
    assert chosen(Uncertain(0.1), rows).tolist() == [1]
    student = np.array([CERTAIN[::-1], EVEN, SURE, SURE])
    assert chosen(Disagreed(), rows, student).tolist() == [0, 3]
    assert chosen(Distinct(), some_rows([EVEN] * 4, ([1, 2], [3], [1, 2], [1]))).tolist() == [0, 1, 3]


def test_a_row_counts_by_the_share_that_its_student_still_lacks() -> None:
    """1 - exp(-L_s / L_t): losses log 2 and log 4/3 make 1 - 2 ** (-1 / log(4/3)) and 1 - (3/4) ** (1 / log 2)."""
    student, teacher = torch.tensor([EVEN, SURE, EVEN]), torch.tensor([SURE, EVEN, CERTAIN])
    found = weights(Weighted(), student, torch.zeros(3, dtype=torch.long), teacher)
    by_hand = [1 - 2 ** (-1 / np.log(4 / 3)), 1 - 0.75 ** (1 / np.log(2)), 1]
    torch.testing.assert_close(found, torch.tensor(by_hand, dtype=found.dtype))
    assert weights(AllRows(), student, torch.zeros(3), teacher) is None


def test_rules_have_names_and_shares_are_shares() -> None:
    assert all(isinstance(rule_named(name), kind) for name, kind in RULES.items())
    with pytest.raises(TrimfitError, match="got --rows best, expected one of all, distinct, uncertain"):
        rule_named("best")
    with pytest.raises(TrimfitError, match=r"got a share of 0 of the rows, expected one in \(0, 1\]"):
        Uncertain(0)
    with pytest.raises(TrimfitError, match="got start 0 and until 2"):
        Curriculum(0, 2)


# what a training sees


@pytest.fixture
def rows(make_classifier: Make) -> Encoded:
    rng = np.random.default_rng(0)
    ids = tuple([0, *rng.integers(4, 24, rng.integers(2, 7)).tolist(), 2] for _ in range(96))
    some = Encoded(ids, rng.integers(0, 3, 96), pad_token_id=1)
    return some.with_teacher(predict(make_classifier(), some))


def test_a_curriculum_is_trained_in_its_order_and_goes_on_in_it(
    make_classifier: Make, rows: Encoded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optimizer.distillation.trainer.CHECKPOINT_SECONDS", 0.0)
    seen: list[int] = []

    class Watched(Encoded):
        def __getitem__(self, row: int) -> dict:
            seen.append(row)
            return super().__getitem__(row)

    class CutError(Exception):
        pass

    def cut_after(share: float) -> None:
        if share >= 0.5:
            raise CutError

    watched = Watched(rows.input_ids, rows.labels, rows.pad_token_id, rows.teacher_logits)
    schedule = Schedule(12, 1e-3, 16, evaluations=3, rows=Curriculum(until=0.9))
    settings = {"objective": SoftTargets(), "schedule": schedule, "metric": "accuracy", "folder": tmp_path / "training"}
    order = order_of(schedule.rows, rows, steps=12, batch_size=16, seed=0).tolist()
    assert set(order[:16]) == set(np.argsort(-margin(rows.teacher_logits))[:16]), "the surest rows come first"
    with pytest.raises(CutError):
        train(make_classifier(seed=1), watched, rows, advance=cut_after, **settings)
    assert order[: len(seen)] == seen
    seen.clear()
    train(make_classifier(seed=1), watched, rows, **settings)
    assert seen == order[5 * 16 :], "5 steps were saved"


def test_a_student_is_asked_about_as_many_rows_as_it_needs_and_its_choice_is_kept(
    make_classifier: Make, rows: Encoded, tmp_path: Path
) -> None:
    model, rule = make_classifier(seed=1), Disagreed()
    options = {"needed": 24, "seed": 0, "folder": tmp_path}
    found = rows_to_train_on(rule, rows, model, **options)
    asked = rows.drawn(48, 0)
    apart = disagreement(rows.teacher_logits[asked], predict(model, rows.take(asked), exact=False))
    assert len(found) == 24
    assert set(map(tuple, found.input_ids)) == {
        tuple(rows.input_ids[i]) for i in asked[np.argsort(-apart, kind="stable")[:24]]
    }
    again = rows_to_train_on(rule, rows, make_classifier(seed=2), **options)
    assert again.input_ids == found.input_ids


def test_fewer_rows_are_fewer_steps(make_classifier: Make, rows: Encoded) -> None:
    for rule in (Uncertain(), Disagreed()):
        schedule = Schedule(0, 1e-3, batch_size=16, rows=rule)
        assert steps_within(make_classifier(), rows, SoftTargets(), minutes=100, epochs=4, schedule=schedule) == 12


def test_rows_without_a_teacher_are_all_used(rows: Encoded) -> None:
    unanswered = replace(rows, teacher_logits=None)
    assert usable(Uncertain(), unanswered) is unanswered


def test_a_weighted_loss_is_the_weighted_mean(make_classifier: Make, rows: Encoded) -> None:
    model = make_classifier(seed=1)
    batch = next(iter(rows.take(range(8)).buckets(8)))[1]
    plain, weighted = (Imitation(CrossEntropy(), model, rows=rule) for rule in (AllRows(), Weighted()))
    logits = model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits.detach()
    losses = torch.nn.functional.cross_entropy(logits, batch["labels"], reduction="none")
    w = weights(Weighted(), logits, batch["labels"], batch["teacher_logits"])
    torch.testing.assert_close(weighted(**batch).detach(), (w * losses).sum() / w.sum())
    torch.testing.assert_close(plain(**batch).detach(), losses.mean())
