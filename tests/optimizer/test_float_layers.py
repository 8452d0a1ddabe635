"""Layers that would cost score in int8 stay in fp32: which are chosen, how they are found, and who is told."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import made_setting as made
import numpy as np
import onnx
import pytest
import torch
from transformers import PreTrainedModel

from hardware_profiles.runtimes import OnnxRuntimeCpu
from optimizer.architecture import Architecture
from optimizer.artefact import Artefact, build, deployed_score
from optimizer.candidates import Candidate
from optimizer.compression import untouched
from optimizer.decision import decide
from optimizer.encoders import walk
from optimizer.encoding import Encoded
from optimizer.export import ParityReport
from optimizer.float_choice import growing, is_lost, most_harmful
from optimizer.float_layers import FloatLayers, LinearGroup, carried, share_of
from optimizer.linear_groups import node_names, weights_of
from optimizer.rescue import Quantised, rescue
from optimizer.setting import Setting
from optimizer.target import LatencyMs, MaxDrop

Make = Callable[..., PreTrainedModel]

DOWN = LinearGroup(layer=1, part="ffn_down")
UP = LinearGroup(layer=1, part="ffn_up")
ATTENTION = LinearGroup(layer=2, part="attention")


def logits_with(right: int, rows: int) -> np.ndarray:
    """Answers of two classes, of which the first `right` rows are label 0."""
    answers = np.zeros((rows, 2), np.float32)
    answers[:right, 0] = answers[right:, 1] = 1
    return answers


# choice


@pytest.mark.parametrize(("rows", "before", "after", "lost"), [
    (1000, 900, 890, True),  # a point; the error is 0.3 of one
    (1000, 900, 896, False),  # less than half a point
    (100, 90, 89, False),  # a point, and so is the error
    (100, 90, 80, True),
    (1000, 900, 950, False),  # a gain
])  # fmt: skip
def test_a_loss_counts_from_half_a_point_and_a_standard_error(rows: int, before: int, after: int, lost: bool) -> None:
    labels = np.zeros(rows, int)
    assert is_lost(labels, logits_with(before, rows), logits_with(after, rows), "accuracy") == lost


def test_groups_are_ordered_by_what_they_take_away_per_weight() -> None:
    gains = {DOWN: 0.2, UP: 0.3, ATTENTION: -0.1}
    assert most_harmful(gains, {DOWN: 10, UP: 30, ATTENTION: 10}) == (DOWN, UP)


def test_sets_double_up_to_the_most_and_the_most_is_tried() -> None:
    order = [LinearGroup(layer=index, part="ffn_up") for index in range(9)]
    assert [len(groups) for groups in growing(order, 6)] == [1, 2, 4, 6]
    assert [len(groups) for groups in growing(order[:2], 6)] == [1, 2]
    assert list(growing(order, 0)) == list(growing([], 6)) == []


def test_a_student_with_fewer_layers_has_the_teachers_groups_at_their_new_places() -> None:
    assert carried((DOWN, UP, ATTENTION), [0, 2]) == (LinearGroup(layer=1, part="attention"),)
    assert carried((DOWN, UP, ATTENTION), [0, 1, 2]) == (DOWN, UP, ATTENTION)


# where they are


def test_every_group_is_found_in_the_export_of_every_family(
    family: str, make_classifier: Make, tokenizer: object, tmp_path: Path
) -> None:
    model = make_classifier(family)
    artefact = build(model, tokenizer, OnnxRuntimeCpu(), "fp32", tmp_path, made.rows(model))
    graph = onnx.load(artefact.fp32).graph
    found = [name for group in weights_of(model) for name in node_names(model, graph, [group])]
    assert len(found) == len(set(found)) == 6 * made.LAYERS
    assert sum(weights_of(model).values()) == sum(
        linear.weight.numel() for layer in walk(model).layers for linear in layer.linears().values()
    )


# rescue


class Answers(Quantised):
    """Answers as many of 1000 rows rightly as is told for the groups in fp32; files hold the groups."""

    def make(self, target: Path, groups: Collection[LinearGroup]) -> Path:
        target.write_text(" ".join(map(str, groups)))
        return target

    def logits(self, path: Path, rows: Encoded) -> np.ndarray:
        words = path.read_text()
        return logits_with(self.calibration[words], 1000)

    def gains(self, scratch: Path, start: Collection[LinearGroup]) -> dict[LinearGroup, float]:
        self.calibration["measured from"] = tuple(start)
        return {UP: 0.2, DOWN: 0.3, ATTENTION: 0.1}


def rescued(model: PreTrainedModel, folder: Path, right: dict[str, object], known: Collection[LinearGroup] = ()):
    """Of an fp32 model that answers 900 rows rightly."""
    quantised = Answers(model, folder / "fp32.onnx", OnnxRuntimeCpu(), "int8", right, "accuracy", 1)
    path = quantised.make(folder / "int8.onnx", ())
    rows = Encoded(((0,),) * 1000, np.zeros(1000, int), pad_token_id=1)
    artefact = Artefact(path, folder / "fp32.onnx", ParityReport(max_abs_logit_difference=0.0, rows=1))
    return rescue(quantised, artefact, rows, expected=logits_with(900, 1000), known=known)


def test_a_model_that_loses_nothing_stays_as_it_is(make_classifier: Make, tmp_path: Path) -> None:
    artefact, logits = rescued(make_classifier(), tmp_path, {"": 897})
    assert (artefact.path, artefact.float_layers) == (tmp_path / "int8.onnx", None)
    assert logits[:, 0].sum() == 897


def test_no_more_layers_go_back_to_fp32_than_are_needed(make_classifier: Make, tmp_path: Path) -> None:
    right = {"": 800, str(DOWN): 850, f"{DOWN} {UP}": 898, f"{DOWN} {UP} {ATTENTION}": 900}
    artefact, logits = rescued(make_classifier(), tmp_path, right)
    assert artefact.float_layers == FloatLayers(groups=(DOWN, UP), dev_without=0.8, dev_with=0.898)
    assert artefact.path == tmp_path / "int8-mixed.onnx"
    assert artefact.path.read_text() == f"{DOWN} {UP}"
    assert logits[:, 0].sum() == 898
    assert sorted(path.name for path in tmp_path.iterdir()) == ["int8-mixed.onnx", "int8.onnx"]


def test_where_none_is_enough_the_best_is_taken_and_none_if_none_helps(make_classifier: Make, tmp_path: Path) -> None:
    right = {"": 800, str(DOWN): 860, f"{DOWN} {UP}": 850, f"{DOWN} {UP} {ATTENTION}": 790}
    found = rescued(make_classifier(), tmp_path, right)[0].float_layers
    assert found is not None
    assert (found.groups, found.dev_with) == ((DOWN,), 0.86)
    right = dict.fromkeys(right, 800)
    assert rescued(make_classifier(), tmp_path, right)[0].float_layers is None


def test_what_is_known_to_help_is_tried_before_anything_is_measured(make_classifier: Make, tmp_path: Path) -> None:
    right: dict[str, object] = {"": 800, str(ATTENTION): 899}
    found = rescued(make_classifier(), tmp_path, right, known=[ATTENTION])[0].float_layers
    assert found is not None
    assert found.groups == (ATTENTION,)
    assert "measured from" not in right


def test_what_is_known_not_to_be_enough_is_built_on(make_classifier: Make, tmp_path: Path) -> None:
    right = {"": 800, str(ATTENTION): 850, f"{ATTENTION} {DOWN}": 899}
    found = rescued(make_classifier(), tmp_path, right, known=[ATTENTION])[0].float_layers
    assert found is not None
    assert found.groups == (ATTENTION, DOWN)
    assert right["measured from"] == (ATTENTION,)


def outlying(model: PreTrainedModel) -> PreTrainedModel:
    """With one huge neuron in layer 1 that nobody reads: int8 loses the neurons beside it. Answers vary."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        for layer in walk(model).layers:
            layer.attention_output.weight *= 10
        part = walk(model).layers[1]
        part.up.weight[0] = 0
        part.up.bias[0] = 3e4
        part.down.weight[:, 0] = 0
        model.classifier.bias -= torch.from_numpy(made.rows(model).teacher_logits).mean(dim=0)
    return model


def clear(model: PreTrainedModel) -> Encoded:
    """Rows whose answer is the clearest, which only a real loss turns."""
    some = made.rows(model, count=400)
    best, second = np.sort(some.teacher_logits, axis=1)[:, :-3:-1].T
    return some.take(np.argsort(second - best)[:100])


@pytest.fixture
def outlier(make_classifier: Make) -> PreTrainedModel:
    return outlying(make_classifier())


@pytest.mark.parametrize("precision", ["int8", "int8-static"])
def test_the_layer_that_hurts_is_found_and_computed_in_fp32(
    precision: str, outlier: PreTrainedModel, tokenizer: object, tmp_path: Path
) -> None:
    dev, runtime = clear(outlier), OnnxRuntimeCpu()
    artefact = build(outlier, tokenizer, runtime, precision, tmp_path, dev, dev)
    quantised = Quantised(outlier, artefact.fp32, runtime, precision, dev, "accuracy", 1)
    gains = quantised.gains(tmp_path / "trial.onnx", ())
    assert max(gains, key=gains.__getitem__) == DOWN
    mixed, logits = rescue(quantised, artefact, dev)
    kept = mixed.float_layers
    assert kept is not None
    assert kept.groups[0] == DOWN
    assert kept.dev_with > kept.dev_without + 0.3
    assert (logits.argmax(1) == dev.labels).mean() == pytest.approx(kept.dev_with)
    products = {node.name for node in onnx.load(mixed.path).graph.node if node.op_type == "MatMul"}
    assert products >= set(node_names(outlier, onnx.load(artefact.fp32).graph, [DOWN]))


# prediction


@pytest.fixture
def setting(make_classifier: Make, tokenizer: object, tmp_path: Path) -> Setting:
    """An int8 teacher of 3 ms of which one FFN down and one attention, each a sixth of a kind's weights, are fp32."""
    setting = made.setting(make_classifier(), tokenizer, tmp_path / "work", target=LatencyMs(3.2))
    kept = FloatLayers(groups=(DOWN, ATTENTION), dev_without=0.8, dev_with=0.9)
    fp32, int8 = setting.baselines
    return replace(setting, baselines=(fp32, replace(int8, float_layers=kept, plain_ms=int8.ms, ms=3.5)))


def test_a_prediction_counts_the_share_that_stays_in_fp32(setting: Setting) -> None:
    teacher = Architecture.of(setting.teacher)
    assert share_of((DOWN, ATTENTION), 3) == {"attention": pytest.approx(1 / 3), "ffn": pytest.approx(1 / 6)}
    # a block takes 1 ms in fp32 and 0.5 in int8; a third of 3 attentions and a sixth of 3 FFNs take 0.5 ms more
    assert setting.prices("int8").predict(teacher).ms == pytest.approx(3 + 0.5 * (1 + 0.5))
    assert setting.prices("int8").layer_ms(made.HEADS, made.FFN) == pytest.approx(1 + 0.5 / 3 + 0.5 / 6)
    assert setting.prices("fp32").predict(teacher).ms == pytest.approx(6)


def test_students_that_must_be_cut_in_any_case_are_not_reckoned_with_the_teachers_fp32_layers(setting: Setting) -> None:
    candidate = made.candidate(decide(setting), "dense int8", made.STOCK)
    assert setting.float_groups(candidate, range(3)) == (DOWN, ATTENTION)
    fast = replace(setting, target=LatencyMs(2.5))
    assert fast.prices("int8").predict(Architecture.of(fast.teacher)).ms == pytest.approx(3)
    assert fast.float_groups(candidate, range(3)) == ()
    as_good_as_asked = replace(setting, target=MaxDrop(1.0))
    assert as_good_as_asked.float_groups(candidate, range(3)) == (DOWN, ATTENTION)


def test_a_correction_learns_what_the_layers_in_fp32_do_not_explain(setting: Setting) -> None:
    whole = Architecture.of(setting.teacher)
    candidate = made.candidate(decide(setting), "dense int8", made.STOCK)
    as_predicted = setting.prices("int8").predict(whole).ms
    corrected = setting.corrected("student", candidate, whole, 0.0, as_predicted)
    assert corrected.engines[0].profile.anchors[-1].seconds == pytest.approx(3e-3)


def test_the_race_scores_with_the_teachers_layers_in_fp32(
    outlier: PreTrainedModel, tokenizer: object, tmp_path: Path
) -> None:
    plain = replace(made.setting(outlier, tokenizer, tmp_path / "work"), dev=clear(outlier))
    kept = FloatLayers(groups=(DOWN,), dev_without=0.8, dev_with=1.0)
    with_kept = replace(plain, baselines=tuple(replace(b, float_layers=kept) for b in plain.baselines))
    candidate: Candidate = made.candidate(decide(plain), "dense int8", made.STOCK)
    scores = [deployed_score(outlier, setting, candidate, setting.dev) for setting in (plain, with_kept)]
    assert scores[0] < scores[1]
    assert untouched(plain).origin.layers[1].layer == 1
