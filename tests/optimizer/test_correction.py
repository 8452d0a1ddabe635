"""A model whose heads and neurons go by second order: what is left gives nearly what the whole gave."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import made_setting as made
import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from optimizer.candidates import Candidate
from optimizer.decision import decide
from optimizer.encoders import walk
from optimizer.encoding import Encoded
from optimizer.gates import skipping
from optimizer.inference import predict
from optimizer.pruning.correction import correct, measure_removals
from optimizer.pruning.curves import BlockCurve, Probe, curve_rows, divergence, measured_curve
from optimizer.pruning.cutting import cut
from optimizer.pruning.moments import Moments
from optimizer.pruning.patterns import Depth, Width
from optimizer.pruning.removal import refit, refit_bias
from optimizer.pruning.second_order import damped
from optimizer.pruning.sensitivity import loss_of_plan
from optimizer.pruning.stream import Stream, enough_rows
from optimizer.surgery import LayerPlan, keep
from optimizer.target import LatencyMs

Make = Callable[..., PreTrainedModel]
HEADS, ALL = (0, 1, 2, 3), tuple(range(12))
NAMES = ("query", "attention_output", "up", "down")
WHOLE = LayerPlan(heads=HEADS, ffn=ALL)
HALF = LayerPlan(heads=(1, 3), ffn=(0, 2, 4, 6, 8, 10))


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optimizer.inference.trains_in_bf16", lambda: False)


def test_rows_that_are_sorted_by_class_give_some_of_each(make_classifier: Make) -> None:
    ids = tuple([0, 5, 6, 2] for _ in range(900))
    enough = enough_rows(make_classifier(), Encoded(ids, np.arange(900) // 300, pad_token_id=1))
    assert len(enough) < 300
    assert set(enough.labels) == {0, 1, 2}


@pytest.fixture
def rows() -> Encoded:
    rng = np.random.default_rng(0)
    ids = tuple([0, *rng.integers(3, 24, rng.integers(2, 8)).tolist(), 2] for _ in range(80))
    return Encoded(ids, rng.integers(0, 3, 80), pad_token_id=1)


def taught(model: PreTrainedModel, rows: Encoded) -> Encoded:
    return rows.with_teacher(predict(model, rows))


def test_a_probe_tells_the_divergence_from_the_layer_reached_on(
    make_classifier: Make, rows: Encoded, family: str
) -> None:
    model = make_classifier(family)
    rows = taught(model, rows)
    probe = Probe(model, rows)
    for layer in walk(model).layers:
        before = layer.down.weight.clone()
        with torch.no_grad():
            layer.down.weight.mul_(0.5)
        assert probe.divergence() == pytest.approx(divergence(model, rows), rel=1e-3)
        assert probe.divergence() > 0
        with torch.no_grad():
            layer.down.weight.copy_(before)
        probe.advance()


def read_by(model: PreTrainedModel, name: str, layer: int, rows: Encoded) -> torch.Tensor:
    """What a linear reads of the rows' real tokens, in the order of the rows, by running the whole model."""
    return all_read(model, rows)[layer, name]


def all_read(model: PreTrainedModel, rows: Encoded) -> dict[tuple[int, str], torch.Tensor]:
    read: dict[tuple[int, str], list[torch.Tensor]] = {}
    hooks = []
    for index, layer in enumerate(walk(model).layers):
        for name in NAMES:
            seen = read.setdefault((index, name), [])
            linear = getattr(layer, name)
            hooks.append(linear.register_forward_pre_hook(lambda _, given, seen=seen: seen.append(given[0][0])))
    with torch.no_grad():
        for ids in rows.input_ids:
            model(torch.tensor([ids]))
    for hook in hooks:
        hook.remove()
    return {key: torch.cat(parts) for key, parts in read.items()}


# stream


def test_layers_run_for_themselves_read_what_they_read_in_the_model(
    family: str, make_classifier: Make, rows: Encoded
) -> None:
    model = make_classifier(family)
    expected, stream = all_read(model, rows), Stream(model, rows)
    for index, layer in enumerate(walk(model).layers):
        readings = list(stream.readings(layer, NAMES))
        for name in NAMES:
            found = torch.cat([reading.inputs[name] for reading in readings])
            wanted = expected[index, name]
            torch.testing.assert_close(found.sum(dim=0), wanted.sum(dim=0), atol=1e-3, rtol=1e-4)
            torch.testing.assert_close(found.T @ found, wanted.T @ wanted, atol=1e-3, rtol=1e-4)
        stream.advance(layer)


def test_moments_are_those_of_all_tokens_together() -> None:
    x, t = torch.randn(50, 3) + 2, torch.randn(50, 2)
    moments = Moments(3, 2)
    for part in (slice(0, 20), slice(20, 50)):
        moments.add(x[part], t[part])
    joint = torch.cov(torch.cat([t, x], dim=1).T, correction=0)
    torch.testing.assert_close(moments.covariance, joint[2:, 2:], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(moments.target_covariance, joint[:2, 2:], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(moments.mean, x.mean(dim=0))
    torch.testing.assert_close(moments.target_mean, t.mean(dim=0))


# correction


def test_a_plan_that_keeps_everything_changes_nothing(family: str, make_classifier: Make, rows: Encoded) -> None:
    model = make_classifier(family)
    before = predict(model, rows)
    np.testing.assert_allclose(predict(correct(model, [WHOLE] * 3, rows), rows), before, atol=1e-3)


def test_neurons_that_stay_get_the_least_squares_solution(make_classifier: Make, rows: Encoded) -> None:
    """Of weights and bias together, on what the projection reads, drawn a little to the weights as they were."""
    model = make_classifier()
    rows = enough_rows(model, rows)
    down, kept, gone = walk(model).layers[0].down, [0, 2, 5, 6, 9], [1, 3, 4, 7, 8, 10, 11]
    x, w = read_by(model, "down", 0, rows).double(), down.weight.detach().double().clone()
    wanted = x @ w.T + down.bias.detach().double()
    x0, t0 = x - x.mean(dim=0), wanted - wanted.mean(dim=0)
    pull = (0.01 * x0.square().mean(dim=0).mean() * len(x)).sqrt() * torch.eye(12).double()
    solution = torch.linalg.lstsq(torch.cat([x0, pull])[:, kept], torch.cat([t0, pull @ w.T])).solution
    correct(model, [LayerPlan(heads=HEADS, ffn=tuple(kept)), WHOLE, WHOLE], rows)
    torch.testing.assert_close(down.weight[:, kept].T.double(), solution, atol=1e-3, rtol=1e-3)
    assert (down.weight[:, gone] == 0).all()
    given = x @ down.weight.T.double() + down.bias.double()
    torch.testing.assert_close(given.mean(dim=0), wanted.mean(dim=0), atol=1e-4, rtol=1e-4)


def test_after_a_correction_surgery_changes_only_the_shape(family: str, make_classifier: Make, rows: Encoded) -> None:
    model = correct(make_classifier(family), [HALF, None, LayerPlan(heads=(), ffn=(3,))], rows)
    with skipping(model, [1]):
        expected = predict(model, rows)
    keep(model, [HALF, None, LayerPlan(heads=(), ffn=(3,))])
    np.testing.assert_allclose(predict(model, rows), expected, atol=1e-4)


@pytest.mark.parametrize("plan", [[HALF] * 3, [HALF, None, HALF], [WHOLE, WHOLE, LayerPlan(heads=(), ffn=())]], ids=str)
def test_a_corrected_model_diverges_less(plan: list, make_classifier: Make, rows: Encoded) -> None:
    model = make_classifier()
    rows = taught(model, rows)
    assert loss_of_plan(model, rows, plan, corrected=True) < loss_of_plan(model, rows, plan)


def test_what_follows_a_removed_layer_makes_up_for_it(make_classifier: Make, rows: Encoded) -> None:
    model, plan = make_classifier(), [None, WHOLE, WHOLE]
    rows = taught(model, rows)
    assert loss_of_plan(model, rows, plan, corrected=True) < 0.8 * loss_of_plan(model, rows, plan)


def test_of_several_layers_each_is_corrected_by_what_it_then_reads(make_classifier: Make, rows: Encoded) -> None:
    """The second layer's FFN is fitted to bring the stream back, behind a first layer that was cut."""
    model = make_classifier()
    rows, whole = enough_rows(model, rows), copy.deepcopy(model)
    correct(model, [HALF, HALF, WHOLE], rows)
    read = {id(m): read_by(m, "down", 1, rows) for m in (model, whole)}
    after, before = (read_by(m, "up", 1, rows) + walk(m).layers[1].down(read[id(m)]).detach() for m in (model, whole))
    difference, x = after - before, read[id(model)][:, list(HALF.ffn)]
    left = (difference - difference.mean(dim=0)).T @ (x - x.mean(dim=0)) / len(x)
    scale = (x - x.mean(dim=0)).square().mean()
    assert left.abs().max() < 0.02 * scale, (
        "nothing in what is read explains what is still missing, but for the damping"
    )


@pytest.mark.parametrize("pattern", [Width("fisher"), Width("second-order", corrected=False), Depth()])
def test_only_what_is_corrected_changes_weights_that_stay(
    pattern: object, make_classifier: Make, rows: Encoded
) -> None:
    model = make_classifier()
    kept = walk(model).layers[0].down.weight[:, list(HALF.ffn)].clone()
    after, report = cut(model, pattern, [HALF, WHOLE, WHOLE], rows)
    assert report.layers[0].ffn == HALF.ffn
    assert torch.equal(walk(after).layers[0].down.weight, kept) == (pattern != Width("fisher"))


# curves


def test_measuring_removals_changes_nothing(family: str, make_classifier: Make, rows: Encoded) -> None:
    model = make_classifier(family)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    measure_removals(model, taught(model, rows))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_every_block_has_an_order_and_a_curve_that_falls_with_width(make_classifier: Make, rows: Encoded) -> None:
    model = make_classifier()
    model, _ = keep(model, [WHOLE, LayerPlan(heads=(), ffn=ALL), WHOLE])
    heads, ffn = measure_removals(model, taught(model, rows))
    assert [sorted(ranks) for ranks, _ in ffn] == [list(range(12))] * 3
    assert [sorted(ranks) for ranks, _ in heads] == [list(range(4)), [], list(range(4))]
    for ranks, curve in (*heads, *ffn):
        assert len(curve.losses) == len(ranks) + 1
        assert (np.diff(curve.losses) <= 0).all()
        assert curve.losses[-1] == 0
    assert heads[1][1].loss(0) == 0


def test_a_curve_is_measured_with_the_block_cut_and_corrected_alone(make_classifier: Make, rows: Encoded) -> None:
    model = make_classifier()
    model.classifier.weight.data *= 100  # so that the divergence is more than rounding
    rows = taught(model, rows)
    _, ffn = measure_removals(model, rows)
    ranks, curve = ffn[0]
    kept = torch.tensor(np.sort(np.argsort(-ranks)[:8]).copy())  # 0.66 of 12, where it was measured
    probe, x = curve_rows(model, rows), read_by(model, "down", 0, enough_rows(model, rows))
    whole, down = divergence(model, probe), walk(model).layers[0].down
    weight = refit(down.weight, damped(torch.cov(x.T, correction=0)), kept)
    with torch.no_grad():
        down.bias.copy_(refit_bias(down(x).mean(dim=0), weight, x.mean(dim=0)))
        down.weight.copy_(weight)
    assert curve.loss(8) == pytest.approx(divergence(model, probe) - whole, rel=1e-2)


def test_between_measured_widths_a_curve_follows_the_errors() -> None:
    curve = BlockCurve(np.array([0.0, 2.0, 4.0]), np.array([6.0, 1.0, 0.0]))
    errors = np.array([10.0, 8.0, 4.0, 3.0, 0.0])
    assert curve.following(errors).losses.tolist() == pytest.approx([6.0, 1 + 5 * 4 / 6, 1.0, 0.75, 0.0])


def test_a_measured_curve_never_falls_as_units_go() -> None:
    curve = measured_curve(10, {7: 0.5, 3: 0.2, 0: 3.0}.__getitem__)
    assert curve.widths.tolist() == [0, 3, 7, 10]
    assert curve.losses.tolist() == [3.0, 0.5, 0.5, 0.0]
    assert measured_curve(0, {}.__getitem__).loss(0) == 0


def test_a_corrected_plan_is_judged_on_a_copy(make_classifier: Make, rows: Encoded) -> None:
    model = make_classifier()
    rows = taught(model, rows)
    before = divergence(model, curve_rows(model, rows))
    loss_of_plan(model, rows, [HALF] * 3, corrected=True)
    assert divergence(model, curve_rows(model, rows)) == before


# the main job


@pytest.mark.parametrize("importance", ["second-order", "fisher"])
def test_widths_are_judged_as_they_would_be_cut(
    importance: str, make_classifier: Make, tokenizer: object, tmp_path: Path
) -> None:
    setting = made.setting(make_classifier(), tokenizer, tmp_path / "work", target=LatencyMs(3.0))
    decision = decide(replace(setting, importance=importance))
    width = made.candidate(decision, "width fp32", made.STOCK)
    assert width.pattern == Width(importance)
    expected = loss_of_plan(setting.teacher, setting.calibration, width.plan, corrected=True)
    assert width.estimated_loss == pytest.approx(expected)
    again = Candidate.from_record(width.record(6.0, chosen=False), decision.view.architecture)
    assert again.pattern == width.pattern
