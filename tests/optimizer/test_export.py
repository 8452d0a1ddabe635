import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from benchmarks.errors import TrimfitError
from optimizer.export import export_onnx, parity, predict_onnx
from optimizer.surgery import LayerPlan, keep

ALL = tuple(range(12))
PLAN = [
    LayerPlan(heads=(1, 3), ffn=(0, 2, 11)),
    LayerPlan(heads=(), ffn=(4, 5)),
    LayerPlan(heads=(0, 1, 2), ffn=()),
]
BARE = [None, LayerPlan(heads=(), ffn=()), LayerPlan(heads=(2,), ffn=ALL)]


def session_of(path):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("plan", [PLAN, BARE], ids=["narrow", "bare"])
def test_every_family_and_shape_gives_the_same_logits_in_onnxruntime(
    family, plan, make_classifier, tokenizer, batch, tmp_path
):
    model, _ = keep(make_classifier(family), plan)
    path, report = export_onnx(model, tokenizer, tmp_path / "model.onnx")
    shorter = {name: values[1:2, :4] for name, values in batch.items()}
    found = parity(model, session_of(path), [batch, shorter])
    assert found.rows == 5
    assert found.max_abs_logit_difference < 1e-5
    assert report.onnx_bytes == path.stat().st_size
    assert {"input_ids", "attention_mask"} <= set(report.inputs)


def test_removed_blocks_leave_nothing_in_the_graph(family, make_classifier, tokenizer, tmp_path):
    whole, full = export_onnx(make_classifier(family), tokenizer, tmp_path / "whole.onnx")
    model, _ = keep(make_classifier(family), [LayerPlan(heads=(), ffn=())] * 3)
    path, report = export_onnx(model, tokenizer, tmp_path / "bare.onnx")
    graph = onnx.load(path).graph
    assert not [tensor.name for tensor in graph.initializer if 0 in tensor.dims]
    assert {"Softmax", "Erf"}.isdisjoint(node.op_type for node in graph.node if "layer" in node.name)
    assert sum(node.op_type == "LayerNormalization" for node in graph.node) == 7
    assert report.nodes < full.nodes / 2
    assert path.stat().st_size < whole.stat().st_size


def test_a_model_without_any_attention_still_takes_a_mask(family, make_classifier, tokenizer, batch, tmp_path):
    model, _ = keep(make_classifier(family), [LayerPlan(heads=(), ffn=ALL)] * 3)
    path, report = export_onnx(model, tokenizer, tmp_path / "model.onnx")
    assert report.inputs[-1] == "attention_mask"
    assert parity(model, session_of(path), [batch]).max_abs_logit_difference < 1e-5


def test_the_file_appears_whole_and_alone(make_classifier, tokenizer, tmp_path):
    target = tmp_path / "out" / "student.onnx"
    target.parent.mkdir()
    target.write_text("an older file")
    export_onnx(make_classifier(), tokenizer, target)
    assert [file.name for file in target.parent.iterdir()] == ["student.onnx"]
    onnx.checker.check_model(onnx.load(target))


def test_a_failed_export_leaves_the_older_file(make_classifier, tokenizer, tmp_path, monkeypatch):
    target = tmp_path / "model.onnx"
    target.write_text("an older file")
    model = make_classifier()
    monkeypatch.setattr(model.classifier, "forward", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export_onnx(model, tokenizer, target)
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
    assert target.read_text() == "an older file"


def test_export_leaves_the_model_as_it_was_and_says_nothing(make_classifier, tokenizer, tmp_path, capfd):
    model = make_classifier().train()
    model.config._name_or_path = "somebody/some-model"
    config = model.config.to_dict()
    export_onnx(model, tokenizer, tmp_path / "model.onnx")
    assert model.training
    assert model.config.to_dict() == config
    assert model.config._name_or_path == "somebody/some-model"
    assert capfd.readouterr() == ("", "")


def test_logits_come_in_the_order_of_the_rows(make_classifier, tokenizer, batch, tmp_path):
    path, _ = export_onnx(make_classifier(), tokenizer, tmp_path / "model.onnx")
    rows = [{name: values[row : row + 1] for name, values in batch.items()} for row in range(4)]
    together, apart = predict_onnx(session_of(path), [batch]), predict_onnx(session_of(path), rows)
    assert together.shape == (4, 3)
    np.testing.assert_allclose(together, apart, atol=1e-5)


def test_what_the_model_does_not_take_is_passed_over(make_classifier, tokenizer, batch, tmp_path):
    path, _ = export_onnx(make_classifier("roberta"), tokenizer, tmp_path / "model.onnx")
    extra = {**batch, "token_type_ids": batch["input_ids"] * 0, "labels": torch.zeros(4)}
    np.testing.assert_array_equal(predict_onnx(session_of(path), [extra]), predict_onnx(session_of(path), [batch]))


def test_a_batch_that_lacks_an_input_is_refused(make_classifier, tokenizer, batch, tmp_path):
    path, _ = export_onnx(make_classifier(), tokenizer, tmp_path / "model.onnx")
    with pytest.raises(TrimfitError, match="attention_mask is missing"):
        predict_onnx(session_of(path), [{"input_ids": batch["input_ids"]}])


def test_logits_that_differ_are_refused_with_both(make_classifier, tokenizer, batch, tmp_path):
    path, _ = export_onnx(make_classifier(), tokenizer, tmp_path / "model.onnx")
    with pytest.raises(TrimfitError, match=r"gives row \d logits \[.*\], expected PyTorch's \[.*\] within 1e-04"):
        parity(make_classifier(seed=1), session_of(path), [batch])


def test_not_a_number_is_never_equal(make_classifier, tokenizer, batch, tmp_path):
    model = make_classifier()
    path, _ = export_onnx(model, tokenizer, tmp_path / "model.onnx")
    model.classifier.bias.data[0] = float("nan")
    with pytest.raises(TrimfitError, match="nan"):
        parity(model, session_of(path), [batch])
