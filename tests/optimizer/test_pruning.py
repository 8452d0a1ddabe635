from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import PreTrainedModel

from optimizer.architecture import Architecture, LayerShape
from optimizer.compression import budgets
from optimizer.encoding import Encoded
from optimizer.gates import gated
from optimizer.inference import predict
from optimizer.judgement import fitting_plan
from optimizer.pruning.curves import BlockCurve, divergence
from optimizer.pruning.importance import IMPORTANCES, Importance, draw_labels, fisher, magnitude, taylor
from optimizer.pruning.masks import magnitude_mask
from optimizer.pruning.patterns import Dense, Depth, Uniform, Unstructured, View, Width, propose
from optimizer.pruning.sensitivity import Sensitivity, loss_of_plan, measure_sensitivity, order_of_layers
from optimizer.pruning.unit_importance import unit_importance
from optimizer.pruning.zeros import KeepZeros, linear_weights, set_zeros
from optimizer.surgery import LayerPlan

ROWS = 48


@pytest.fixture
def rows() -> Encoded:
    rng = np.random.default_rng(0)
    ids = tuple([0, *rng.integers(3, 24, rng.integers(2, 8)).tolist(), 2] for _ in range(ROWS))
    return Encoded(ids, rng.integers(0, 3, ROWS), pad_token_id=1)


def with_answers(model: PreTrainedModel, rows: Encoded) -> Encoded:
    return rows.with_teacher(predict(model, rows))


# importance


def test_fisher_is_half_the_mean_squared_gradient_of_a_row() -> None:
    assert fisher(np.array([[1.0, 0.0], [3.0, 2.0]])).tolist() == [2.5, 1.0]


def test_fisher_estimates_what_removing_a_unit_costs_a_quadratic_loss() -> None:
    """For a Gaussian log-likelihood the Fisher information is the Hessian, so the estimate is exact."""
    rng = np.random.default_rng(0)
    contribution, noise = 0.7, rng.normal(size=200_000)
    gradients = (noise * contribution)[:, None]  # d/dm of (y - m c)^2 / 2 at the optimum is -noise * c
    cost = 0.5 * contribution**2  # mean loss at m = 0 minus that at m = 1
    assert fisher(gradients)[0] == pytest.approx(cost, rel=0.02)


def test_fisher_with_drawn_labels_is_the_divergence_of_a_small_change() -> None:
    """KL(p(m=1) || p(m)) = 1/2 (1-m)^2 F for m near 1, here for logits m * v."""
    v, m = np.array([0.8, -0.3, 0.1]), 0.95
    p = np.exp(v) / np.exp(v).sum()
    q = np.exp(m * v) / np.exp(m * v).sum()
    drawn = draw_labels(np.tile(v, (100_000, 1)), seed=0)
    gradients = (p @ v - v[drawn])[:, None]  # d/dm of -log softmax(m v)[y] at m = 1
    assert (1 - m) ** 2 * fisher(gradients)[0] == pytest.approx(float(p @ np.log(p / q)), rel=0.05)


def test_drawn_labels_follow_the_teachers_distribution() -> None:
    drawn = draw_labels(np.tile(np.log([0.7, 0.2, 0.1]), (50_000, 1)), seed=1)
    np.testing.assert_allclose(np.bincount(drawn) / 50_000, [0.7, 0.2, 0.1], atol=0.01)


def test_taylor_is_the_mean_size_of_a_rows_gradient() -> None:
    assert taylor(np.array([[1.0, 0.0], [-3.0, 2.0]])).tolist() == [2.0, 1.0]


def test_taylor_is_what_removing_a_unit_costs_a_linear_loss() -> None:
    """L = sum_i m_i w_i x_i: dL/dm_i = g w with g = x, the change of L for m_i from 1 to 0 but for its sign."""
    w, x = np.array([2.0, -1.0]), np.array([[1.0, 4.0], [3.0, -2.0]])
    np.testing.assert_allclose(taylor(w * x), np.mean([[2.0, 4.0], [6.0, 2.0]], axis=0))


def test_magnitude_is_the_norm_of_all_weights_of_a_unit() -> None:
    matrices = [np.array([[3.0, 0], [0, 0], [1, 1], [0, 0]]), np.array([[0.0], [4], [1], [1]])]
    assert magnitude(matrices, 2).tolist() == [5.0, 2.0]
    assert magnitude(matrices).tolist() == pytest.approx([3, 4, 3**0.5, 1])


# sensitivity


def test_magnitude_counts_rows_and_columns_of_a_neuron_and_of_a_head(
    make_classifier: Callable[..., PreTrainedModel],
) -> None:
    model = make_classifier()
    layer = model.bert.encoder.layer[1]
    heads, ffn = unit_importance(model, Encoded((), np.zeros(0), 1), "magnitude")
    neuron = layer.intermediate.dense.weight[5].square().sum() + layer.output.dense.weight[:, 5].square().sum()
    assert ffn[1][5] == pytest.approx(neuron.sqrt().item(), rel=1e-5)
    rows = [p.weight[8:12] for p in (layer.attention.self.query, layer.attention.self.key, layer.attention.self.value)]
    head = sum(part.square().sum() for part in (*rows, layer.attention.output.dense.weight[:, 8:12]))
    assert heads[1][2] == pytest.approx(head.sqrt().item(), rel=1e-5)


def test_first_order_importance_equals_autograd_row_by_row(
    make_classifier: Callable[..., PreTrainedModel], rows: Encoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optimizer.inference.trains_in_bf16", lambda: False)
    model = make_classifier()
    rows = with_answers(model, rows)
    labels = draw_labels(rows.teacher_logits, seed=0)
    sizes = np.zeros(12)
    for row in range(ROWS):
        with gated(model) as gates:
            cost = F.cross_entropy(model(torch.tensor([rows.input_ids[row]])).logits, torch.tensor([labels[row]]))
            sizes += np.abs(torch.autograd.grad(cost, gates.ffn[2])[0].numpy())
    np.testing.assert_allclose(unit_importance(model, rows, "taylor")[1][2], sizes / ROWS, rtol=1e-3, atol=1e-6)


def test_importance_of_every_unit_equals_autograd_row_by_row(
    make_classifier: Callable[..., PreTrainedModel], rows: Encoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optimizer.inference.trains_in_bf16", lambda: False)
    model = make_classifier()
    rows = with_answers(model, rows)
    labels = draw_labels(rows.teacher_logits, seed=0)
    found = measure_sensitivity(model, rows, "fisher")
    squares = np.zeros(4)
    for row in range(ROWS):
        with gated(model) as gates:
            logits = model(torch.tensor([rows.input_ids[row]])).logits
            cost = F.cross_entropy(logits, torch.tensor([labels[row]]))
            squares += torch.autograd.grad(cost, gates.heads[1])[0].numpy() ** 2
    np.testing.assert_allclose(found.head_importance[1], 0.5 * squares / ROWS, rtol=1e-3)


@pytest.mark.parametrize("importance", IMPORTANCES)
def test_curves_fall_with_width_and_end_at_zero(
    importance: Importance, make_classifier: Callable[..., PreTrainedModel], rows: Encoded
) -> None:
    model = make_classifier()
    found = measure_sensitivity(model, with_answers(model, rows), importance)
    for curve in (*found.head_curves, *found.ffn_curves):
        assert (np.diff(curve.losses) <= 0).all()
        assert curve.losses[-1] == 0
        assert curve.losses[0] > 0
    assert [len(importance) for importance in found.ffn_importance] == [12, 12, 12]


@pytest.mark.parametrize("importance", IMPORTANCES)
def test_measuring_changes_nothing(
    importance: Importance, make_classifier: Callable[..., PreTrainedModel], rows: Encoded
) -> None:
    model = make_classifier()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    rows = with_answers(model, rows)
    measure_sensitivity(model, rows, importance)
    order_of_layers(model, rows)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(p.requires_grad for p in model.parameters())


def test_keeping_everything_costs_nothing_and_less_costs_more(
    make_classifier: Callable[..., PreTrainedModel], rows: Encoded
) -> None:
    model = make_classifier()
    rows = with_answers(model, rows)
    whole = LayerPlan(heads=(0, 1, 2, 3), ffn=tuple(range(12)))
    assert loss_of_plan(model, rows, [whole] * 3) == pytest.approx(0, abs=1e-6)
    assert loss_of_plan(model, rows, [whole, None, LayerPlan(heads=(), ffn=())]) > 1e-3
    assert sorted(order_of_layers(model, rows)) == [0, 1, 2]


def test_divergence_is_zero_from_oneself(make_classifier: Callable[..., PreTrainedModel], rows: Encoded) -> None:
    model, other = make_classifier(), make_classifier(seed=1)
    assert divergence(model, with_answers(model, rows)) == pytest.approx(0, abs=1e-3)  # bf16 where it is fast
    assert divergence(other, with_answers(model, rows)) > 0.01


# patterns


class Prices:
    """A head costs 1 ms, 4 neurons 1 ms, the rest of a model 2 ms."""

    def room_ms(self, target_ms: float) -> float:
        return target_ms - 2

    def widths(self, kind: str) -> tuple[int, ...]:
        return (0, 1, 2, 3, 4) if kind == "attention" else (0, 4, 8, 12)

    def layer_ms(self, heads: int, ffn: int) -> float:
        return heads + ffn / 4


def curve(*losses: float, widths: tuple[int, ...]) -> BlockCurve:
    return BlockCurve(np.array(widths, float), np.array(losses, float))


@pytest.fixture
def view() -> View:
    layer = LayerShape(heads=4, ffn=12)
    whole = Architecture(hidden_size=16, head_size=4, vocab_size=24, layers=(layer, layer))
    heads = (np.array([3.0, 9.0, 1.0, 5.0]), np.array([4.0, 3.0, 2.0, 1.0]))
    ffn = (np.arange(12.0), np.arange(12.0)[::-1])
    sensitivity = Sensitivity(
        heads,
        ffn,
        (curve(9, 0, widths=(0, 4)), curve(1, 0, widths=(0, 4))),
        (curve(1, 0, widths=(0, 12)), curve(1, 0, widths=(0, 12))),
    )
    return View(whole, sensitivity, layer_order=(1, 0))


def cost(plan: list) -> float:
    return 2 + sum(len(entry.heads) + len(entry.ffn) / 4 for entry in plan if entry)


def test_width_keeps_what_matters_most_within_the_budget(view: View) -> None:
    plan = propose(Width(), view, Prices(), 10.0)
    assert cost(plan) <= 10.0
    assert plan[0].heads == (0, 1, 2, 3)  # the tender block stays whole
    assert len(plan[1].heads) < 4


def test_width_takes_the_most_important_units(view: View) -> None:
    plan = propose(Width(), view, Prices(), 4.0)
    assert plan[0].heads == (1, 3)  # importances 9 and 5
    assert plan[1] is None  # no heads and no neurons left: the layer goes


def test_width_that_cannot_fit_is_none(view: View) -> None:
    assert propose(Width(), view, Prices(), 2.5) is None


def test_depth_drops_whole_layers_in_their_order(view: View) -> None:
    whole = LayerPlan(heads=(0, 1, 2, 3), ffn=tuple(range(12)))
    assert propose(Depth(), view, Prices(), 16.0) == [whole, whole]
    assert propose(Depth(), view, Prices(), 15.0) == [whole, None]
    assert propose(Depth(), view, Prices(), 8.0) is None


def test_a_plan_is_found_where_whole_models_take_longer_than_their_layers_say(view: View) -> None:
    """7 ms of layers and head take 8.0005: correcting the sum asked for alone would end just above 8 for ever."""

    class Dearer(Prices):
        def predict(self, architecture: Architecture) -> SimpleNamespace:
            layers = sum(self.layer_ms(layer.heads, layer.ffn) for layer in architecture.layers)
            return SimpleNamespace(ms=2 + layers + 1.0005)

    plan = fitting_plan(Width(), view, Dearer(), 8.0)
    assert plan is not None
    assert cost(plan) == 6.0


def test_uniform_keeps_the_same_share_of_every_layer(view: View) -> None:
    plan = propose(Uniform(), view, Prices(), 10.0)  # 74 %: 2 heads and 8 neurons are the widest measured within it
    assert plan == [
        LayerPlan(heads=(1, 3), ffn=tuple(range(4, 12))),
        LayerPlan(heads=(0, 1), ffn=tuple(range(8))),
    ]
    assert propose(Uniform(), view, Prices(), 16.0) == propose(Dense(), view, Prices(), 16.0)
    assert propose(Uniform(), view, Prices(), 5.5) is None  # the narrowest layers take 2 ms each


@pytest.mark.parametrize("pattern", [Dense(), Unstructured(0.9)])
def test_other_patterns_keep_every_row(pattern: object, view: View) -> None:
    assert cost(propose(pattern, view, Prices(), 1.0)) == 16


def test_a_pattern_nobody_registered_is_refused(view: View) -> None:
    with pytest.raises(TypeError, match="not a pattern"):
        propose("width", view, Prices(), 1.0)


def test_budgets_fall_fast_first_and_end_at_the_target() -> None:
    path = budgets(10.0, 2.0, 4)
    assert path == pytest.approx([2 + 8 * 27 / 64, 2 + 8 * 8 / 64, 2 + 8 / 64, 2.0])


# zeros


def test_a_magnitude_mask_drops_exactly_the_smallest() -> None:
    weight = torch.tensor([[0.1, -0.5], [0.3, -0.2]])
    assert magnitude_mask(weight, 0.5).tolist() == [[False, True], [True, False]]
    assert magnitude_mask(weight, 0.0).all()
    with pytest.raises(ValueError, match="no weight would be left"):
        magnitude_mask(weight, 1.0)


def test_zeros_stay_zero_while_training(make_classifier: Callable[..., PreTrainedModel]) -> None:
    model = set_zeros(make_classifier(), Unstructured(0.75))
    callback = KeepZeros(model)
    masks = [weight == 0 for weight in linear_weights(model)]
    assert all(mask.float().mean().item() == pytest.approx(0.75, abs=0.01) for mask in masks)
    with torch.no_grad():
        for weight in linear_weights(model):
            weight.add_(1.0)
    callback.on_step_end(None, None, None)
    assert all(torch.equal(weight == 0, mask) for weight, mask in zip(linear_weights(model), masks, strict=True))
