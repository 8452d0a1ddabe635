import pytest
import torch

from benchmarks.errors import TrimfitError
from optimizer.architecture import Architecture, LayerShape
from optimizer.encoders import walk
from optimizer.gates import gated, skipping
from optimizer.surgery import LayerOrigin, LayerPlan, SurgeryReport, compose, keep, reshape

ALL = tuple(range(12))
PLANS = {
    "narrower": [
        LayerPlan(heads=(1, 3), ffn=(0, 2, 11)),
        LayerPlan(heads=(0,), ffn=ALL),
        LayerPlan(heads=(0, 1, 2, 3), ffn=(7,)),
    ],
    "shallower": [LayerPlan(heads=(0, 1, 2, 3), ffn=ALL), None, LayerPlan(heads=(0, 1, 2, 3), ffn=ALL)],
    "no attention": [LayerPlan(heads=(), ffn=ALL)] * 3,
    "no ffn": [LayerPlan(heads=(0, 2), ffn=())] * 3,
    "everything": [LayerPlan(heads=(), ffn=(5,)), None, LayerPlan(heads=(2,), ffn=())],
    "bare": [LayerPlan(heads=(), ffn=()), None, None],
}


@pytest.fixture(params=PLANS)
def plan(request):
    return PLANS[request.param]


def masked_logits(model, plan, batch):
    with gated(model) as gates, skipping(model, [i for i, entry in enumerate(plan) if entry is None]):
        gates.set(plan)
        return model(**batch).logits


def test_a_cut_model_gives_the_logits_of_the_masked_one(family, plan, make_classifier, batch):
    model = make_classifier(family)
    expected = masked_logits(model, plan, batch)
    model, _ = keep(model, plan)
    torch.testing.assert_close(model(**batch).logits, expected, atol=1e-6, rtol=0)


def test_rows_and_columns_are_really_gone(family, plan, make_classifier):
    model, report = keep(make_classifier(family), plan)
    counted = sum(parameter.numel() for parameter in walk(model).layer_list.parameters())
    assert counted == report.after.encoder_parameters() < report.before.encoder_parameters()
    kept = [entry for entry in plan if entry is not None]
    assert report.after.layers == tuple(LayerShape(heads=len(e.heads), ffn=len(e.ffn)) for e in kept)


def test_the_report_says_where_each_layer_comes_from(make_classifier):
    _, report = keep(make_classifier(), PLANS["everything"])
    assert report.layers == (
        LayerOrigin(layer=0, heads=(), ffn=(5,)),
        LayerOrigin(layer=2, heads=(2,), ffn=()),
    )


def test_the_config_tells_the_shape(family, plan, make_classifier):
    model, report = keep(make_classifier(family), plan)
    assert model.config.num_hidden_layers == report.after.depth
    assert Architecture.from_config(model.config) == report.after


def test_keeping_everything_changes_nothing(family, make_classifier, batch):
    model = make_classifier(family)
    before = model(**batch).logits
    names = set(model.state_dict())
    model, report = keep(model, [LayerPlan(heads=(0, 1, 2, 3), ffn=ALL)] * 3)
    assert torch.equal(model(**batch).logits, before)
    assert set(model.state_dict()) == names
    assert report == SurgeryReport.untouched(report.before)


def test_a_cut_model_can_be_cut_again_and_its_origins_followed(family, make_classifier, batch):
    first = [LayerPlan(heads=(0, 2, 3), ffn=(1, 4, 9)), None, LayerPlan(heads=(1, 3), ffn=(0, 6))]
    second = [LayerPlan(heads=(1, 2), ffn=(0, 2)), LayerPlan(heads=(1,), ffn=())]
    once = [LayerPlan(heads=(2, 3), ffn=(1, 9)), None, LayerPlan(heads=(3,), ffn=())]
    model, expected = keep(make_classifier(family), once)
    logits = model(**batch).logits
    model, report = keep(make_classifier(family), first)
    model, later = keep(model, second)
    assert compose(report, later) == expected
    assert torch.equal(model(**batch).logits, logits)


def test_heads_that_transformers_pruned_stay_gone(make_classifier, batch):
    model = make_classifier()
    model.prune_heads({0: [1]})
    model, _ = keep(model, [LayerPlan(heads=(0, 2), ffn=ALL), None, LayerPlan(heads=(0, 1, 2, 3), ffn=ALL)])
    expected, _ = keep(
        make_classifier(), [LayerPlan(heads=(0, 3), ffn=ALL), None, LayerPlan(heads=(0, 1, 2, 3), ffn=ALL)]
    )
    assert torch.equal(model(**batch).logits, expected(**batch).logits)
    assert model.config.pruned_heads == {}


def test_relative_positions_survive(plan, make_classifier, batch):
    model = make_classifier(position_embedding_type="relative_key_query")
    expected = masked_logits(model, plan, batch)
    model, _ = keep(model, plan)
    torch.testing.assert_close(model(**batch).logits, expected, atol=1e-6, rtol=0)


def test_untouched_is_the_neutral_start_of_composition(make_classifier):
    _, report = keep(make_classifier(), PLANS["everything"])
    assert compose(SurgeryReport.untouched(report.before), report) == report
    assert compose(report, SurgeryReport.untouched(report.after)) == report


def test_surgeries_compose_only_in_their_order(make_classifier):
    _, report = keep(make_classifier(), PLANS["everything"])
    with pytest.raises(TrimfitError, match="compose reports in the order"):
        compose(report, report)


def test_a_cut_model_trains_with_dropout(family, plan, make_classifier, batch):
    model, _ = keep(make_classifier(family).train(), plan)
    first, second = model(**batch).logits, model(**batch).logits
    assert not torch.equal(first, second)
    first.sum().backward()
    assert all(parameter.grad is not None for parameter in walk(model).layer_list.parameters())


def test_frozen_weights_stay_frozen(make_classifier):
    model = make_classifier().requires_grad_(False)
    model, _ = keep(model, PLANS["narrower"])
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_a_fresh_model_takes_any_shape(family, plan, make_classifier):
    shape = keep(make_classifier(family), plan)[1].after
    assert Architecture.of(reshape(make_classifier(family, seed=1), shape)) == shape


def test_a_model_cannot_grow(make_classifier):
    shape = Architecture.of(make_classifier())
    wider = shape.model_copy(update={"layers": (LayerShape(heads=5, ffn=12),) * 3})
    with pytest.raises(TrimfitError, match="heads of layer 0"):
        reshape(make_classifier(), wider)
    deeper = shape.model_copy(update={"layers": shape.layers * 2})
    with pytest.raises(TrimfitError, match="got a plan for 6 layers, expected 3"):
        reshape(make_classifier(), deeper)


WHOLE = LayerPlan(heads=(0, 1, 2, 3), ffn=ALL)


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ([WHOLE, WHOLE], "got a plan for 2 layers, expected 3"),
        ([None, None, None], "removes every layer"),
        (
            [LayerPlan(heads=(4,), ffn=()), WHOLE, WHOLE],
            r"heads of layer 0 \(4,\), expected rising indices below 4",
        ),
        ([LayerPlan(heads=(1, 0), ffn=()), WHOLE, WHOLE], "heads of layer 0"),
        ([LayerPlan(heads=(-1, 0), ffn=()), WHOLE, WHOLE], "heads of layer 0"),
        ([WHOLE, WHOLE, LayerPlan(heads=(), ffn=(3, 3))], "FFN neurons of layer 2"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused_before_anything_is_cut(plan, words, make_classifier):
    model = make_classifier()
    shape = Architecture.of(model)
    with pytest.raises(TrimfitError, match=words):
        keep(model, plan)
    assert Architecture.of(model) == shape
