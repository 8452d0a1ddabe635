"""Movement: scores against autograd, what they make zero, and what an interruption changes: nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import made_setting as made
import pytest
import torch
import torch.nn.functional as F
from transformers import PreTrainedModel

from benchmarks.errors import TrimfitError
from optimizer.compression import compress, recover
from optimizer.cut_schedule import check_cut_schedule
from optimizer.decision import decide
from optimizer.distillation.objectives import SoftTargets
from optimizer.distillation.trainer import Schedule, train
from optimizer.encoding import collate
from optimizer.pruning.masks import top_mask
from optimizer.pruning.movement import Movement, _gone, cubic, moved
from optimizer.pruning.patterns import Block, NOfM, Unstructured, Zeros
from optimizer.pruning.zeros import linear_weights, set_zeros, sparsity_of
from optimizer.pruning.zeros_training import training_zeros
from optimizer.race import race
from optimizer.setting import Setting

Make = Callable[..., PreTrainedModel]
STEPS, RATE = 8, 0.5


@pytest.fixture
def two_layers(make_classifier: Make) -> PreTrainedModel:
    return make_classifier(num_hidden_layers=2)


def test_a_weight_that_a_step_takes_from_zero_gains() -> None:
    weight, gradient = torch.tensor([2.0, 2.0, -2.0, -2.0]), torch.tensor([-1.0, 1.0, -1.0, 1.0])
    assert moved(weight, gradient).tolist() == [2.0, -2.0, -2.0, 2.0]


def test_zeros_come_between_warm_up_and_cool_down() -> None:
    assert [cubic(done, 0.2, 0.8) for done in (0.0, 0.1, 0.4, 0.7, 1.0)] == pytest.approx(
        [0.2, 0.2, 0.8 - 0.6 / 8, 0.8, 0.8]
    )


def loss_of(model: PreTrainedModel, batch: dict[str, torch.Tensor], weights: dict | None = None) -> torch.Tensor:
    inputs = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
    found = torch.func.functional_call(model, weights, (), inputs) if weights else model(**inputs)
    return F.cross_entropy(found.logits, batch["labels"])


def test_scores_and_zeros_are_those_of_masks_with_straight_through_gradients(two_layers: PreTrainedModel) -> None:
    """The reference has its masks in the graph: W M in the forward pass, S - dL/dM and W - rate dL/dW after it."""
    model, pattern = copy.deepcopy(two_layers), Unstructured(0.6, "movement")
    rows = made.rows(two_layers, 16)
    batch = collate([rows[i] for i in range(16)], rows.pad_token_id)
    names = {name: p for name, p in two_layers.named_parameters() if any(p is w for w in linear_weights(two_layers))}
    dense = {name: p.detach().clone() for name, p in names.items()}
    scores = {name: torch.zeros_like(w) for name, w in dense.items()}
    masks = {name: torch.ones_like(w) for name, w in dense.items()}

    for parameter in model.parameters():  # only the linear layers train
        parameter.requires_grad_(any(parameter is w for w in linear_weights(model)))
    callback, came_back = Movement(model, pattern), 0
    for step in range(1, STEPS + 1):
        w = {name: value.clone().requires_grad_() for name, value in dense.items()}
        m = {name: value.clone().requires_grad_() for name, value in masks.items()}
        loss_of(two_layers, batch, {name: w[name] * m[name] for name in w}).backward()
        share = cubic(step / STEPS, 0.0, 0.6)
        for name in dense:
            scores[name] -= m[name].grad
            dense[name] -= RATE * w[name].grad
            mask = top_mask(scores[name], share).float()
            came_back += int(((mask == 1) & (masks[name] == 0)).sum())
            masks[name] = mask

        model.zero_grad()
        loss_of(model, batch).backward()
        state = SimpleNamespace(global_step=step, max_steps=STEPS)
        callback.on_pre_optimizer_step(None, state, None)
        with torch.no_grad():
            for weight in linear_weights(model):
                weight -= RATE * weight.grad
        callback.on_step_end(None, state, None)
        for name, parameter in model.named_parameters():
            if name in dense:
                torch.testing.assert_close(parameter.detach(), dense[name] * masks[name], rtol=1e-4, atol=1e-5)
    assert came_back > 0, "or the waiting weights' scores were not tried"
    callback.finish()
    assert not [name for name, _ in model.named_buffers() if "movement" in name]


@pytest.mark.parametrize(
    "pattern", [Unstructured(0.7, "movement"), Block(0.5, "movement"), NOfM(n=1, m=4, by="movement")]
)
def test_training_ends_with_the_zeros_that_were_asked_for(
    two_layers: PreTrainedModel, pattern: Zeros, tmp_path: Path
) -> None:
    rows = made.rows(two_layers)
    run(two_layers, rows, pattern, tmp_path)
    assert sparsity_of(two_layers) == pytest.approx(pattern.sparsity, abs=0.01)
    for weight in linear_weights(two_layers):
        zeros = (weight.reshape(len(weight), -1, 4) == 0).sum(dim=2).unique().tolist()
        assert {"block": zeros == [0, 4], "n:m": zeros == [3]}.get(pattern.word, True)
    assert not [name for name, _ in two_layers.named_buffers() if "movement" in name]


def test_a_block_with_one_zero_is_ranked_by_the_others() -> None:
    dense = torch.tensor([[0.0, 1, 2, 3, 0, 0, 0, 0]])
    assert _gone(dense, Block(0.5, "movement")).tolist() == [[False] * 4 + [True] * 4]
    assert _gone(dense, Unstructured(0.5, "movement")).tolist() == (dense == 0).tolist()


def test_what_is_zero_already_stays_zero(two_layers: PreTrainedModel, tmp_path: Path) -> None:
    rows = made.rows(two_layers)
    set_zeros(two_layers, Unstructured(0.4, "magnitude"))
    zero = [weight == 0 for weight in linear_weights(two_layers)]
    run(two_layers, rows, Unstructured(0.6, "movement"), tmp_path)
    assert all((weight[was] == 0).all() for weight, was in zip(linear_weights(two_layers), zero, strict=True))
    assert sparsity_of(two_layers) == pytest.approx(0.6, abs=0.01)


def run(model: PreTrainedModel, rows: object, pattern: Zeros, folder: Path, advance: object = None) -> object:
    schedule = Schedule(12, 5e-3, 16, evaluations=1, takes_last=True)
    with training_zeros(model, pattern, make=True) as callbacks:
        return train(
            model,
            rows,
            rows,
            objective=SoftTargets(),
            schedule=schedule,
            metric="accuracy",
            folder=folder / "training",
            callbacks=callbacks,
            advance=advance or (lambda share: None),
        )


def test_an_interrupted_training_ends_as_if_nothing_had_happened(
    two_layers: PreTrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optimizer.distillation.trainer.CHECKPOINT_SECONDS", 0.0)

    class CutError(Exception):
        pass

    def cut_after(share: float) -> None:
        if share >= 0.6:
            raise CutError

    pattern, rows = Unstructured(0.7, "movement"), made.rows(two_layers)
    whole, halved, again = (copy.deepcopy(two_layers) for _ in range(3))
    run(whole, rows, pattern, tmp_path / "whole")
    with pytest.raises(CutError):
        run(halved, rows, pattern, tmp_path / "halved", cut_after)
    steps: list[float] = []
    run(again, rows, pattern, tmp_path / "halved", steps.append)
    assert steps[0] > 0.5
    for one, other in zip(linear_weights(whole), linear_weights(again), strict=True):
        assert ((one == 0) == (other == 0)).float().mean() > 0.95, "scores next to the threshold may change places"
        kept = (one != 0) & (other != 0)
        torch.testing.assert_close(one[kept], other[kept], rtol=1e-2, atol=1e-3)


# the main job


@pytest.fixture
def setting(make_classifier: Make, tokenizer: object, tmp_path: Path) -> Setting:
    return made.setting(make_classifier(), tokenizer, tmp_path / "work", zeros_by="movement")


def test_a_student_gets_its_zeros_in_one_round_of_training(setting: Setting) -> None:
    winner = made.candidate(decide(setting), "unstructured", made.SPARSE)
    assert (winner.pattern.by, winner.sparsity) == ("movement", 0.84)
    student = compress(setting, winner, 2.0)
    assert [r.sparsity for r in student.rounds] == [0.84]
    assert not student.rounds[0].kept_start
    assert sparsity_of(student.model) == pytest.approx(0.84, abs=0.01)
    zero = [weight == 0 for weight in linear_weights(student.model)]
    recovered = recover(setting, student, winner, minutes=0.01)
    assert all(torch.equal(was, w == 0) for was, w in zip(zero, linear_weights(recovered.model), strict=True))


def test_it_races_with_the_zeros_that_its_first_heat_made(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def score(model: PreTrainedModel, setting: Setting, candidate: object, rows: object) -> float:
        seen.append((candidate.name, sparsity_of(model)))
        return 0.5

    monkeypatch.setattr("optimizer.race.deployed_score", score)
    decision = decide(setting)
    one = replace(made.candidate(decision, "unstructured", made.SPARSE), refused=None)
    race(setting, replace(decision, candidates=(one, replace(one, name="again"))))
    assert [sparsity for _, sparsity in seen] == pytest.approx([0.84] * 2, abs=0.01)


def test_it_has_no_use_for_another_schedule() -> None:
    check_cut_schedule("gradual", "movement")
    with pytest.raises(TrimfitError, match="got --schedule lottery with --zeros-by movement, expected gradual"):
        check_cut_schedule("lottery", "movement")
    with pytest.raises(TrimfitError, match="expected one of gradual, one-shot, lottery, lottery-early"):
        check_cut_schedule("slowly", "magnitude")
