from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from benchmarks.errors import TrimfitError
from optimizer.distillation.objectives import CrossEntropy, SoftTargets
from optimizer.distillation.trainer import Schedule, micro_batch, steps_within, train
from optimizer.encoding import Encoded, collate, typical_length
from optimizer.inference import predict, trains_in_bf16
from optimizer.pruning.curves import divergence
from optimizer.scoring import check_metric, scores
from optimizer.teacher import match_labels, token_limit

Make = Callable[..., PreTrainedModel]


@pytest.fixture
def rows() -> Encoded:
    """A task a tiny model can learn: the label is which of three words the row holds."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 96)
    ids = tuple([0, int(7 + 3 * label), *rng.integers(16, 24, rng.integers(1, 6)).tolist(), 2] for label in labels)
    return Encoded(ids, labels, pad_token_id=1)


def run(model: PreTrainedModel, rows: Encoded, folder: Path, **settings: object) -> object:
    schedule = Schedule(**{"steps": 12, "learning_rate": 5e-3, "batch_size": 16, "evaluations": 3, **settings})
    return train(
        model, rows, rows, objective=CrossEntropy(), schedule=schedule, metric="accuracy", folder=folder / "training"
    )


def test_training_learns_and_leaves_the_best_weights(make_classifier: Make, rows: Encoded, tmp_path: Path) -> None:
    model = make_classifier()
    before = scores(rows.labels, predict(model, rows))["accuracy"]
    report = run(model, rows, tmp_path, steps=40)
    after = scores(rows.labels, predict(model, rows))["accuracy"]
    assert report.best_dev > before
    assert after == pytest.approx(report.best_dev, abs=0.03)  # scored in bf16 while training, where that is fast


def test_of_scores_that_tell_nothing_the_one_nearest_to_the_teacher_counts(
    make_classifier: Make, rows: Encoded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 96 rows 90 are right at best: one standard error is 2.5 % of them."""
    rows = rows.with_teacher(np.zeros((96, 3), np.float32))
    evaluations = [(80, 0.1), (90, 0.3), (89, 0.2), (87, 0.1), (90, 0.25), (88, 0.15)]
    answers = iter(evaluations)
    latest = [0.0]

    def score(*_: object) -> float:
        right, latest[0] = next(answers)
        return right / 96

    monkeypatch.setattr("optimizer.distillation.trainer.score", score)
    monkeypatch.setattr("optimizer.distillation.trainer.divergence_of", lambda *_: latest[0])
    report = run(make_classifier(), rows, tmp_path, steps=10, evaluations=5, learning_rate=1e-6)
    assert (report.best_step, report.best_dev) == (10, 88 / 96)


def test_training_that_only_hurts_changes_nothing(make_classifier: Make, rows: Encoded, tmp_path: Path) -> None:
    model = make_classifier()
    rows = Encoded(rows.input_ids, predict(model, rows).argmax(1), rows.pad_token_id)  # already perfect
    before = {name: value.clone() for name, value in model.state_dict().items()}
    report = run(model, rows, tmp_path, learning_rate=10.0)
    assert report.best_step == 0
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_an_interrupted_training_goes_on_from_its_checkpoint(
    make_classifier: Make, rows: Encoded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optimizer.distillation.trainer.CHECKPOINT_SECONDS", 0.0)

    class CutError(Exception):
        pass

    def cut_after(share: float) -> None:
        if share >= 0.5:
            raise CutError

    whole, halved = make_classifier(), make_classifier()
    run(whole, rows, tmp_path / "whole")
    schedule = Schedule(12, 5e-3, 16, evaluations=3)
    settings = {"objective": CrossEntropy(), "schedule": schedule, "metric": "accuracy", "folder": tmp_path / "halved"}
    with pytest.raises(CutError):
        train(halved, rows, rows, advance=cut_after, **settings)
    steps: list[float] = []
    halved = make_classifier()
    report = train(halved, rows, rows, advance=steps.append, **settings)
    assert report.steps == 12
    assert steps[0] == pytest.approx(6 / 12)  # step 6 was cut before it was saved, steps 1 to 5 are not done again
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(halved.state_dict()[name], value, rtol=1e-3, atol=1e-4)


def test_steps_are_bounded_by_epochs_and_by_minutes(make_classifier: Make, rows: Encoded) -> None:
    schedule = Schedule(0, 1e-3, batch_size=16)
    model = make_classifier()
    assert steps_within(model, rows, CrossEntropy(), minutes=100, epochs=4, schedule=schedule) == 24
    assert steps_within(model, rows, CrossEntropy(), minutes=1e-9, epochs=4, schedule=schedule) == 8
    assert all(p.grad is None for p in model.parameters())


def test_large_embeddings_stay_as_they_are(make_classifier: Make, rows: Encoded, tmp_path: Path) -> None:
    model = make_classifier()
    model.resize_token_embeddings(20_000)
    table = model.get_input_embeddings().weight
    before = table.detach().clone()
    run(model, rows, tmp_path)
    assert torch.equal(model.get_input_embeddings().weight, before)
    assert model.get_input_embeddings().weight.requires_grad


def test_distilling_pulls_the_student_to_its_teacher(make_classifier: Make, rows: Encoded, tmp_path: Path) -> None:
    teacher, student = make_classifier(), make_classifier(seed=1)
    run(teacher, rows, tmp_path, steps=60)
    rows = rows.with_teacher(predict(teacher, rows))
    before = divergence(student, rows)
    train(
        student,
        rows,
        rows,
        objective=SoftTargets(soft=1.0),
        schedule=Schedule(60, 5e-3, 16, evaluations=3),
        metric="accuracy",
        folder=tmp_path / "kd",
    )
    assert divergence(student, rows) < 0.5 * before


@pytest.mark.parametrize(("objective", "drops"), [(SoftTargets(), False), (CrossEntropy(), True)])
def test_what_a_teacher_teaches_drops_nothing_out(
    make_classifier: Make, rows: Encoded, tmp_path: Path, objective: object, drops: bool
) -> None:
    model = make_classifier(hidden_dropout_prob=0.2, attention_probs_dropout_prob=0.3)

    def rates() -> set[float]:
        dropouts = {m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)}
        return dropouts | {m.dropout_prob for m in model.modules() if hasattr(m, "dropout_prob")}

    seen: list[set[float]] = []
    train(
        model,
        rows.with_teacher(np.zeros((96, 3), np.float32)),
        rows,
        objective=objective,
        schedule=Schedule(2, 1e-3, 16),
        metric="accuracy",
        folder=tmp_path / "training",
        advance=lambda share: seen.append(rates()),
    )
    assert seen == [{0.2, 0.3} if drops else {0.0}] * 2
    assert rates() == {0.2, 0.3}


# encoded rows


def test_padding_never_changes_an_answer(make_classifier: Make, rows: Encoded) -> None:
    model = make_classifier()
    alone = np.concatenate([predict(model, rows.take([i])) for i in range(8)])
    np.testing.assert_allclose(predict(model, rows)[:8], alone, atol=1e-5)


def test_buckets_hold_every_row_once_and_similar_lengths_together(rows: Encoded) -> None:
    seen, widths = [], []
    for index, batch in rows.buckets(16):
        seen += index.tolist()
        widths.append(batch["input_ids"].shape[1])
        assert batch["attention_mask"].sum(1).tolist() == rows.lengths[index].tolist()
    assert sorted(seen) == list(range(96))
    assert widths == sorted(widths)


def test_collate_pads_to_the_longest() -> None:
    batch = collate([{"input_ids": [5, 6, 7], "labels": 1}, {"input_ids": [5], "labels": 0}], pad_token_id=9)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [5, 9, 9]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]


def test_the_typical_length_is_the_median() -> None:
    assert typical_length(Encoded(([1], [1, 2, 3], [1, 2, 3, 4]), np.zeros(3, int), 0)) == 3


# scores and labels


def test_scores_are_those_worked_out_by_hand() -> None:
    labels, logits = np.array([0, 0, 0, 1]), np.array([[1, 0], [1, 0], [0, 1], [0, 1]], float)
    found = scores(labels, logits)
    assert found["accuracy"] == 0.75
    assert found["macro_f1"] == pytest.approx((0.8 + 2 / 3) / 2)
    assert found["weighted_f1"] == pytest.approx((3 * 0.8 + 2 / 3) / 4)


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(TrimfitError, match="expected one of accuracy, macro_f1, weighted_f1"):
        check_metric("f1")


def test_labels_are_matched_by_name_or_index() -> None:
    assert match_labels(("negative", "positive"), ("POSITIVE", "NEUTRAL", "NEGATIVE")) == (
        "positive",
        "NEUTRAL",
        "negative",
    )
    assert match_labels(("0", "1"), ("LABEL_0", "LABEL_1")) == ("0", "1")
    assert match_labels(("0", "1"), ("NEGATIVE", "POSITIVE")) == ("0", "1")
    assert match_labels(("False", "True"), ("LABEL_0", "LABEL_1")) == ("False", "True")
    assert match_labels(("Up", "up"), ("Up", "up", "down")) == ("Up", "up", "down")
    with pytest.raises(TrimfitError, match="the model's labels are LABEL_0, LABEL_1, the data's are no, yes"):
        match_labels(("no", "yes"), ("LABEL_0", "LABEL_1"))


def test_labels_that_differ_only_in_case_are_not_guessed() -> None:
    with pytest.raises(TrimfitError, match="name the model's in"):
        match_labels(("Positive", "negative", "positive"), ("POSITIVE", "NEGATIVE"))


def test_the_model_takes_as_many_tokens_as_it_has_positions(make_classifier: Make) -> None:
    tokenizer = SimpleNamespace(model_max_length=10**30)
    assert token_limit(make_classifier("bert").config, tokenizer) == 40
    assert token_limit(make_classifier("roberta").config, tokenizer) == 38  # positions are counted from padding id + 1


def test_a_half_written_checkpoint_is_passed_over(
    make_classifier: Make, rows: Encoded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optimizer.distillation.trainer.CHECKPOINT_SECONDS", 0.0)
    run(make_classifier(), rows, tmp_path, steps=6)
    folder = tmp_path / "training"
    (folder / "checkpoint-9").mkdir()
    (folder / "checkpoint-9" / "model.safetensors").write_bytes(b"half")
    assert run(make_classifier(), rows, tmp_path, steps=12).steps == 12


def test_batches_are_split_where_activations_would_not_fit() -> None:
    """12 layers of 768 with 12 heads at 256 tokens: 12 * 256 * 768 * (34 + 20) bytes a row at 16 bits, 127 MB."""
    config = SimpleNamespace(hidden_size=768, num_attention_heads=12, num_hidden_layers=12)
    wide = 1 if trains_in_bf16() else 2
    row = 12 * 256 * 768 * 54 * wide
    assert micro_batch(config, 256, 64, available=2 * 64 * row) == 64
    assert micro_batch(config, 256, 64, available=2 * 64 * row - 1) == 32
    assert micro_batch(config, 256, 64, available=0) == 1


def test_split_batches_train_the_same(
    make_classifier: Make, rows: Encoded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, split = make_classifier(), make_classifier()
    run(whole.train(False), rows, tmp_path / "whole", steps=6)
    monkeypatch.setattr("optimizer.distillation.trainer.micro_batch", lambda config, longest, size, _: size // 4)
    run(split, rows, tmp_path / "split", steps=6)
    assert divergence(split, rows.with_teacher(predict(whole, rows))) < 0.05
