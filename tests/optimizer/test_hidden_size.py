"""Dimensions of the hidden states that leave a model everywhere: what is left is the model that never had them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoModelForMaskedLM, PreTrainedModel

from benchmarks.errors import TrimfitError
from optimizer.architecture import Architecture
from optimizer.encoders import walk
from optimizer.encoding import Encoded
from optimizer.export import export_onnx, parity
from optimizer.gates import gated_hidden
from optimizer.hidden_size import WRITERS, entry_of, tables_of
from optimizer.inference import predict
from optimizer.model_folder import inspect_folder, load, save
from optimizer.model_shape import ModelShape
from optimizer.pruning.curves import divergence
from optimizer.pruning.hidden_correction import correct_hidden
from optimizer.pruning.hidden_importance import hidden_importance
from optimizer.pruning.importance import draw_labels
from optimizer.surgery import LayerPlan, SurgeryReport, compose, keep, keep_hidden

Make = Callable[..., PreTrainedModel]
KEPT = (0, 2, 3, 5, 6, 9, 10, 11, 13, 15)
PLAN = [LayerPlan(heads=(1, 3), ffn=(0, 2, 11)), LayerPlan(heads=(), ffn=(4, 5)), LayerPlan(heads=(0,), ffn=())]


class NormOver(nn.Module):
    """A LayerNorm that sees only some dimensions and gives zero in the others."""

    def __init__(self, norm: nn.LayerNorm, kept: tuple[int, ...]) -> None:
        super().__init__()
        self.norm, self.kept = norm, list(kept)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        norm, kept, given = self.norm, self.kept, torch.zeros_like(x)
        given[..., kept] = F.layer_norm(x[..., kept], (len(kept),), norm.weight[kept], norm.bias[kept], norm.eps)
        return given


def without(model: PreTrainedModel, kept: tuple[int, ...]) -> PreTrainedModel:
    """The model whose other hidden dimensions are always zero and count in no LayerNorm; nothing is removed."""
    encoder = walk(model)
    entry = entry_of(encoder)
    if isinstance(entry, nn.Linear):
        entry.register_forward_hook(
            lambda _, __, x: torch.zeros_like(x).index_add_(-1, torch.tensor(kept), x[..., kept])
        )
        modules = list(encoder.layer_list.modules())
    else:
        modules = [*entry.modules(), *encoder.layer_list.modules()]
    for module in modules:
        for name, child in list(module.named_children()):
            if isinstance(child, nn.LayerNorm):
                setattr(module, name, NormOver(child, kept))
    return model


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optimizer.inference.trains_in_bf16", lambda: False)


@pytest.fixture
def rows() -> Encoded:
    rng = np.random.default_rng(0)
    ids = tuple([0, *rng.integers(3, 24, rng.integers(2, 8)).tolist(), 2] for _ in range(48))
    return Encoded(ids, rng.integers(0, 3, 48), pad_token_id=1)


def taught(model: PreTrainedModel, rows: Encoded) -> Encoded:
    return rows.with_teacher(predict(model, rows))


# surgery


@pytest.mark.parametrize("plan", [None, PLAN], ids=["whole", "narrow layers"])
def test_a_narrower_model_gives_the_logits_of_one_without_those_dimensions(
    plan: list | None, family: str, make_classifier: Make, batch: dict
) -> None:
    model, reference = make_classifier(family), make_classifier(family)
    if plan:
        keep(model, plan)
        keep(reference, plan)
    expected = without(reference, KEPT)(**batch).logits
    model, _ = keep_hidden(model, KEPT)
    torch.testing.assert_close(model(**batch).logits, expected, atol=1e-5, rtol=1e-4)


def test_rows_and_columns_are_really_gone_everywhere(family: str, make_classifier: Make) -> None:
    model, report = keep_hidden(make_classifier(family), KEPT)
    encoder = walk(model)
    assert (report.before.hidden_size, report.after.hidden_size) == (16, 10)
    assert report.after.layers == report.before.layers
    counted = sum(parameter.numel() for parameter in encoder.layer_list.parameters())
    assert counted == report.after.encoder_parameters() < report.before.encoder_parameters()
    assert all(table.weight.shape[1] == 10 for table in tables_of(encoder))
    assert (family == "electra") == (not tables_of(encoder))


def test_it_composes_with_other_surgery(make_classifier: Make, batch: dict) -> None:
    model, first = keep(make_classifier(), PLAN)
    model, second = keep_hidden(model, KEPT)
    other, before = keep_hidden(make_classifier(), KEPT)
    other, after = keep(other, PLAN)
    assert compose(first, second) == compose(before, after)
    assert torch.equal(model(**batch).logits, other(**batch).logits)
    again, third = keep_hidden(model, range(4))
    assert Architecture.of(again) == third.after
    assert third.after.hidden_size == 4
    assert compose(compose(first, second), third).dimensions == KEPT[:4], "those of the first model"


def test_keeping_all_dimensions_changes_nothing(family: str, make_classifier: Make, batch: dict) -> None:
    model = make_classifier(family)
    before = model(**batch).logits
    model, report = keep_hidden(model, range(16))
    assert torch.equal(model(**batch).logits, before)
    assert report == SurgeryReport.untouched(report.before)


def test_bare_encoders_are_narrowed(family: str, make_encoder: Make, batch: dict) -> None:
    model, _ = keep_hidden(make_encoder(family), KEPT)
    assert model(**batch).last_hidden_state.shape[-1] == 10


def test_a_narrower_model_trains(family: str, make_classifier: Make, batch: dict) -> None:
    model, _ = keep_hidden(make_classifier(family).train(), KEPT)
    model(**batch).logits.sum().backward()
    assert all(parameter.grad is not None for parameter in walk(model).layer_list.parameters())


@pytest.mark.parametrize(
    ("kept", "words"),
    [((), "no dimensions to keep"), ((3, 2), "expected rising indices below 16"), ((0, 16), "hidden dimensions")],
)
def test_dimensions_that_do_not_fit_are_refused(kept: tuple[int, ...], words: str, make_classifier: Make) -> None:
    model = make_classifier()
    with pytest.raises(TrimfitError, match=words):
        keep_hidden(model, kept)
    assert Architecture.of(model).hidden_size == 16


def test_a_head_that_is_unknown_is_refused_before_anything_is_cut(make_classifier: Make) -> None:
    model = AutoModelForMaskedLM.from_config(make_classifier("distilbert").config)
    with pytest.raises(TrimfitError, match="expected a sequence classifier"):
        keep_hidden(model, KEPT)
    assert walk(model).hidden_size == 16


# files


@pytest.mark.parametrize("plan", [None, PLAN], ids=["whole", "narrow layers"])
def test_a_narrower_model_comes_back_bit_for_bit(
    plan: list | None, family: str, make_classifier: Make, tokenizer: object, batch: dict, tmp_path: Path
) -> None:
    model, report = keep_hidden(make_classifier(family), KEPT)
    if plan:
        model, report = keep(model, plan)
    save(model, tokenizer, tmp_path)
    assert inspect_folder(tmp_path).architecture == report.after
    again = load(tmp_path)
    assert torch.equal(again(**batch).logits, model(**batch).logits)
    assert Architecture.of(again) == report.after
    assert list(again.state_dict()) == list(model.state_dict())


def test_a_narrower_model_is_profiled_at_its_own_size(make_classifier: Make, tmp_path: Path) -> None:
    model, _ = keep_hidden(make_classifier(), KEPT)
    save(model, None, tmp_path)
    shape = ModelShape.read(tmp_path).architecture
    assert (shape.hidden_size, shape.head_size) == (10, 4)
    assert shape == Architecture.of(model)


def test_a_narrower_model_is_exported_with_the_same_logits(
    family: str, make_classifier: Make, tokenizer: object, batch: dict, tmp_path: Path
) -> None:
    model, _ = keep_hidden(make_classifier(family), KEPT)
    path, _ = export_onnx(model, tokenizer, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(path)
    assert parity(model, session, [batch]).max_abs_logit_difference < 1e-5


# importance


def test_open_gates_change_nothing_and_are_gone_afterwards(family: str, make_classifier: Make, batch: dict) -> None:
    model = make_classifier(family)
    before = model(**batch).logits
    with gated_hidden(model) as gate:
        assert gate.shape == (16,)
        assert torch.equal(model(**batch).logits, before)
        gate.data[3] = 0
        assert not torch.equal(model(**batch).logits, before)
    assert torch.equal(model(**batch).logits, before)


def test_a_closed_gate_is_a_dimension_that_nothing_reads(family: str, make_classifier: Make, batch: dict) -> None:
    """At every layer's hidden states."""
    model = make_classifier(family)
    with gated_hidden(model) as gate:
        gate.data[3] = 0
        states = model(**batch, output_hidden_states=True).hidden_states
    assert len(states) == 4
    assert all((state[..., 3] == 0).all() and not (state[..., 4] == 0).all() for state in states)


def test_importance_equals_the_slopes_row_by_row(family: str, make_classifier: Make, rows: Encoded) -> None:
    model = make_classifier(family)
    rows = taught(model, rows).take(range(8))
    labels, step = draw_labels(rows.teacher_logits, seed=0), 1e-6
    slopes = np.zeros(8)
    double = make_classifier(family).double()
    with torch.no_grad(), gated_hidden(double) as gate:
        for row, label in enumerate(labels):
            costs = []
            for value in (1 + step, 1 - step):
                gate.data[5] = value
                costs.append(F.cross_entropy(double(torch.tensor([rows.input_ids[row]])).logits, torch.tensor([label])))
            slopes[row] = float(costs[0] - costs[1]) / (2 * step)
    assert hidden_importance(model, rows, "fisher")[5] == pytest.approx(np.mean(slopes**2) / 2, rel=1e-3)
    assert hidden_importance(model, rows, "taylor")[5] == pytest.approx(np.mean(np.abs(slopes)), rel=1e-3)


def test_magnitude_counts_every_weight_of_a_dimension(make_classifier: Make, rows: Encoded) -> None:
    model = make_classifier()
    encoder = walk(model)
    total = sum(table.weight[:, 7].square().sum() for table in tables_of(encoder))
    for layer in encoder.layers:
        for name, linear in layer.linears().items():
            part = linear.weight[7] if name in WRITERS else linear.weight[:, 7]
            total = total + part.square().sum()
    total = total + model.bert.pooler.dense.weight[:, 7].square().sum()
    assert hidden_importance(model, rows, "magnitude")[7] == pytest.approx(total.sqrt().item(), rel=1e-5)


# correction


def test_correcting_a_model_that_lost_nothing_changes_nothing(
    family: str, make_classifier: Make, rows: Encoded
) -> None:
    whole = make_classifier(family)
    model = correct_hidden(copy.deepcopy(whole), whole, range(16), rows)
    np.testing.assert_allclose(predict(model, rows), predict(whole, rows), atol=2e-3)


def test_a_corrected_narrower_model_diverges_less(family: str, make_classifier: Make, rows: Encoded) -> None:
    whole = make_classifier(family)
    rows = taught(whole, rows)
    model, _ = keep_hidden(copy.deepcopy(whole), KEPT)
    before = divergence(model, rows)
    assert divergence(correct_hidden(model, whole, KEPT, rows), rows) < 0.7 * before


def test_layers_without_a_block_are_corrected_too(make_classifier: Make, rows: Encoded) -> None:
    whole, _ = keep(make_classifier(), PLAN)
    model, _ = keep_hidden(copy.deepcopy(whole), KEPT)
    rows = taught(whole, rows)
    before = divergence(model, rows)
    assert divergence(correct_hidden(model, whole, KEPT, rows), rows) < before
