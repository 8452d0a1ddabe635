"""Zeros by layer: as many where they cost little and bring much; a part that would not gain stays dense."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import made_setting as made
import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from benchmarks.errors import TrimfitError
from hardware_profiles.layer_zeros import LayerZeros, mean_sparsity
from hardware_profiles.runtimes.sparse.library import library_path
from optimizer.architecture import Architecture, LayerShape
from optimizer.candidates import Candidate
from optimizer.compression import Student, compress, cut_and_train, predicted_ms, untouched
from optimizer.decision import decide, reason_of_runtime
from optimizer.pruning.curves import curve_rows, divergence
from optimizer.pruning.parts import all_parts, by_layer
from optimizer.pruning.patterns import Block, Unstructured
from optimizer.pruning.zeros import linear_weights, set_zeros, sparsity_of
from optimizer.pruning.zeros_allocation import allocate_zeros, shares_between
from optimizer.pruning.zeros_choice import fewest_zeros
from optimizer.pruning.zeros_curves import LossCurve, loss_curve, measure_zeros
from optimizer.setting import Setting
from optimizer.target import LatencyMs

Make = Callable[..., PreTrainedModel]


def has_library() -> bool:
    try:
        return library_path().is_file()
    except TrimfitError:
        return False


needs_library = pytest.mark.skipif(not has_library(), reason="the sparse operators are not built for this machine")
TWO = Architecture(hidden_size=16, head_size=4, vocab_size=24, layers=(LayerShape(heads=4, ffn=12),) * 2)


class Prices:
    """A dense part takes 1 ms, a sparse one as much as it has weights; `down` is never faster sparse."""

    def part_range(self, kind, side, pattern):
        return (2.0 if (kind, side) == ("ffn", 1) else 0.5), 0.9

    def part_ms(self, kind, side, width, pattern, sparsity):
        return 1.0 - sparsity if sparsity >= self.part_range(kind, side, pattern)[0] else 1.0

    def predict(self, architecture, pattern, sparsity):
        parts = [("attention", 0), ("attention", 1), ("ffn", 0), ("ffn", 1)]
        ms = sum(self.part_ms(k, s, 1, pattern, layer.of(k)[s]) for layer in sparsity for k, s in parts)
        return SimpleNamespace(ms=ms)


def curves(**slopes: float) -> dict:
    """A part loses its slope times the square of its zeros; 1 unless it is named, e.g. ffn00 for layer 0's up."""
    grid = np.linspace(0, 1, 201)
    keys = itertools.product((0, 1), ("attention", "ffn"), (0, 1))
    return {key: LossCurve(grid, slopes.get(f"{key[1]}{key[0]}{key[2]}", 1.0) * grid**2) for key in keys}


def test_shares_leave_a_tenth_fewer_weights_each() -> None:
    found = shares_between(0.8, 0.9)
    assert found == pytest.approx([1 - 0.1 / 0.9**k for k in (6, 5, 4, 3, 2, 1, 0)], abs=1e-4)
    assert shares_between(2.0, 0.9) == []


def test_between_measured_losses_a_curve_rises_as_the_error_of_the_outputs_does() -> None:
    """Losses 2 and 6 were measured at errors 4 and 8: halfway between it is 4, at error 1 a quarter of 2."""
    curve = loss_curve([0.5, 0.7, 0.8, 0.9], [1.0, 4.0, 6.0, 8.0], {1: 2.0, 3: 6.0})
    assert [curve.loss(s) for s in (0.0, 0.25, 0.5, 0.7, 0.8, 0.9)] == [0.0, 0.25, 0.5, 2.0, 4.0, 6.0]


def test_a_curve_never_falls() -> None:
    curve = loss_curve([0.5, 0.7, 0.9], [1.0, 0.9, 2.0], {0: 3.0, 2: 1.0})
    assert [curve.loss(s) for s in (0.5, 0.7, 0.9)] == [3.0, 3.0, 3.0]


def test_the_zeros_found_are_those_of_least_loss_that_fit() -> None:
    """Against all combinations of a coarse grid, which the finer one must at least equal."""
    slopes = {"attention00": 3.0, "ffn10": 0.1, "attention11": 0.3}
    losses, prices, target = curves(**slopes), Prices(), 5.0
    found = allocate_zeros(losses, TWO, "unstructured", prices, target)
    assert found is not None
    assert prices.predict(TWO, "unstructured", found).ms <= target

    def loss(layers: tuple[LayerZeros, ...]) -> float:
        return sum(curve.loss(layers[key[0]].of(key[1])[key[2]]) for key, curve in losses.items())

    movable = [key for key in losses if key[1:] != ("ffn", 1)]
    each = [0.0, *shares_between(0.5, 0.9)[::4]]
    best = min(
        loss(layers)
        for pick in itertools.product(each, repeat=len(movable))
        for layers in [by_layer(2, dict(zip(movable, pick, strict=True)))]
        if prices.predict(TWO, "unstructured", layers).ms <= target
    )
    assert loss(found) <= best
    tender, tough = found[0].attention[0], found[1].ffn[0]
    assert tender < tough


def test_a_part_whose_zeros_do_not_pay_stays_dense() -> None:
    found = allocate_zeros(curves(), TWO, "unstructured", Prices(), 4.0)
    assert found is not None
    assert [layer.ffn[1] for layer in found] == [0.0, 0.0]


def test_parts_alike_get_alike_shares() -> None:
    """Of equal parts with a convex loss no one is cut much more than another."""
    found = allocate_zeros(curves(), TWO, "unstructured", Prices(), 4.0)
    shares = [
        layer.of(kind)[side] for layer in found for kind, side in (("attention", 0), ("attention", 1), ("ffn", 0))
    ]
    assert min(shares) > 0.6
    assert max(shares) - min(shares) < 0.14, "three steps of the grid"


def test_more_than_the_most_zeros_bring_is_no_allocation() -> None:
    fastest = 2 * (3 * 0.1 + 1.0)
    assert allocate_zeros(curves(), TWO, "unstructured", Prices(), fastest - 0.01) is None
    found = allocate_zeros(curves(), TWO, "unstructured", Prices(), fastest)
    assert found == (LayerZeros(attention=(0.9, 0.9), ffn=(0.9, 0.0)),) * 2


def test_zeros_that_are_there_stay() -> None:
    there = (LayerZeros(attention=(0.8, 0.0), ffn=(0.3, 0.2)), LayerZeros())
    found = allocate_zeros(curves(attention00=9.0), TWO, "unstructured", Prices(), 5.0, there)
    assert found[0].attention[0] >= 0.8
    assert found[0].ffn[0] >= 0.3
    assert found[0].ffn[1] == 0.2


# measured


def test_measuring_leaves_the_model_as_it_was_and_tells_each_part_alone(make_classifier: Make) -> None:
    model = make_classifier()
    rows = made.rows(model)
    before = [weight.clone() for weight in linear_weights(model)]
    found = measure_zeros(model, rows, 0.9)
    assert all(torch.equal(a, b) for a, b in zip(before, linear_weights(model), strict=True))
    assert list(found) == [part.key for part in all_parts(model)]
    few = curve_rows(model, rows)
    base = divergence(model, few)
    for key in ((0, "attention", 0), (2, "ffn", 1)):
        layers = by_layer(3, {key: 0.9})
        alone = set_zeros(copy.deepcopy(model), Unstructured(0.0, layers=layers), rows)
        others = [part for part in all_parts(alone) if part.key != key]
        assert all((linear.weight != 0).all() for part in others for linear in part.linears.values())
        assert found[key].loss(0.9) == pytest.approx(divergence(alone, few) - base, rel=0.6, abs=0.02)


# the main job


@pytest.fixture
def make_setting(make_classifier: Make, tokenizer: object, tmp_path: Path) -> Callable[..., Setting]:
    return lambda **options: made.setting(
        make_classifier(), tokenizer, tmp_path / "work", **{"zeros_by": "second-order", **options}
    )


def winner_of(setting: Setting) -> Candidate:
    return made.candidate(decide(setting), "unstructured", made.SPARSE)


def test_a_mixed_candidate_is_predicted_to_reach_the_target_and_no_more(make_setting: Callable[..., Setting]) -> None:
    setting = make_setting()
    found = winner_of(setting)
    pattern = found.pattern
    assert len(set(pattern.layers)) > 1, "layers differ"
    assert found.sparsity == pytest.approx(mean_sparsity(found.architecture, pattern.layers))
    assert 0.95 * 2.0 * 0.97 < found.predicted.ms <= 2.0 * 0.97 + 1e-9
    again = made.prices(setting).predict(found.architecture, "unstructured", pattern.layers)
    assert again.ms == found.predicted.ms
    assert "x faster with" in reason_of_runtime(setting, found)


def test_its_record_gives_it_back(make_setting: Callable[..., Setting]) -> None:
    setting = make_setting(target=LatencyMs(1.0), pays={"fp32": True, "int8": True})
    found = made.candidate(decide(setting), "block", made.SPARSE)
    assert isinstance(found.pattern, Block)
    assert found.pattern.layers
    record = found.record(6.0, chosen=True)
    again = type(record).model_validate_json(record.model_dump_json())
    assert Candidate.from_record(again, found.architecture).pattern == found.pattern


def test_zeros_grow_towards_every_layers_own_share(make_setting: Callable[..., Setting], tmp_path: Path) -> None:
    setting = make_setting()
    winner = winner_of(setting)
    student = compress(setting, winner, 2.0)
    assert student.layer_zeros == winner.pattern.layers
    assert student.rounds[0].layer_zeros == tuple(layer.times(7 / 8) for layer in winner.pattern.layers)
    for part in all_parts(student.model):
        share = winner.pattern.layers[part.layer].of(part.kind)[part.side]
        for linear in part.linears.values():
            assert (linear.weight == 0).float().mean().item() == pytest.approx(share, abs=0.01)
    assert predicted_ms(setting, winner, student) == winner.predicted.ms
    student.save(tmp_path / "student")
    again = Student.load(tmp_path / "student")
    assert again.form == student.form
    assert again.rounds == student.rounds


def test_a_tighter_budget_adds_zeros_and_takes_none_away(make_setting: Callable[..., Setting]) -> None:
    setting = make_setting()
    winner = winner_of(setting)
    options = {"minutes": 0.01, "only_smaller": True}
    some = cut_and_train(setting, untouched(setting), winner, 2.0, name="a", **options)
    more = cut_and_train(setting, some, winner, 1.2, name="b", **options)
    assert predicted_ms(setting, winner, more) <= 1.2
    for before, after in zip(some.layer_zeros, more.layer_zeros, strict=True):
        assert all(a <= b for a, b in zip(before.attention + before.ffn, after.attention + after.ffn, strict=True))
    looser = cut_and_train(setting, more, winner, 3.0, name="c", **options)
    assert looser is more
    most = cut_and_train(setting, more, winner, 0.1, name="d", **options)
    assert most.form[1] == 0.95, "where no zeros suffice, as many as were measured, everywhere"
    assert sparsity_of(most.model) == pytest.approx(0.95, abs=0.01)


@needs_library
def test_a_missed_target_teaches_with_the_zeros_of_each_layer(make_setting: Callable[..., Setting]) -> None:
    setting = make_setting()
    winner = winner_of(setting)
    shape, layers = winner.architecture, winner.pattern.layers
    taught = setting.corrected("student 1", winner, shape, layers, 1.3 * winner.predicted.ms)
    after = made.prices(taught).predict(shape, "unstructured", layers).ms
    assert after == pytest.approx(1.3 * winner.predicted.ms, rel=0.05)


def test_one_threshold_for_all_layers_reaches_the_target_too(make_setting: Callable[..., Setting]) -> None:
    setting = make_setting(zeros_by="magnitude-global")
    found = winner_of(setting)
    assert found.predicted.ms <= 2.0 * 0.97
    model = set_zeros(copy.deepcopy(setting.teacher), found.pattern, setting.calibration)
    assert sparsity_of(model) == pytest.approx(found.sparsity, abs=0.01)
    for part in all_parts(model):
        least, most = made.prices(setting).part_range(part.kind, part.side, "unstructured")
        share = found.pattern.layers[part.layer].of(part.kind)[part.side]
        assert share == 0.0 or least <= share <= most


def test_the_search_for_fewest_zeros_says_when_none_suffice(make_setting: Callable[..., Setting]) -> None:
    setting = make_setting()
    for by in ("second-order", "second-order-even", "magnitude-global"):
        prices = made.prices(setting)
        assert fewest_zeros(Unstructured, by, setting.teacher, prices, 0.1, setting.calibration) is None
