"""The graphs that are timed compute an encoder, and look to onnxruntime like exported ones."""

from __future__ import annotations

from collections import Counter
from math import erf

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from benchmarks.errors import TrimfitError
from benchmarks.workload import Workload
from hardware_profiles import EncoderShape, LayerWidths, Unit, encoder_graph, random_inputs, unit_graph
from hardware_profiles.graph import EncoderGraph

HIDDEN, HEAD, HEADS, FFN, BATCH, TOKENS = 16, 4, 3, 24, 2, 5


def weights_of(path):
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}


def layer_norm(x, w, name):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12) * w[f"{name}.weight"] + w[f"{name}.bias"]


def linear(x, w, name):
    return x @ w[f"{name}.weight"] + w[f"{name}.bias"]


def split_heads(x):
    return x.reshape(BATCH, TOKENS, HEADS, HEAD).transpose(0, 2, 1, 3)


def attention(x, w, name, mask):
    q, k, v = (split_heads(linear(x, w, f"{name}/self/{role}")) for role in ("query", "key", "value"))
    scores = q @ k.transpose(0, 1, 3, 2) / np.sqrt(HEAD) + mask
    p = np.exp(scores - scores.max(-1, keepdims=True))
    context = (p / p.sum(-1, keepdims=True)) @ v
    y = linear(context.transpose(0, 2, 1, 3).reshape(BATCH, TOKENS, -1), w, f"{name}/output/dense")
    return layer_norm(x + y, w, f"{name}/output/LayerNorm")


def gelu(x):
    return x * 0.5 * (1 + np.vectorize(erf)(x / np.sqrt(2)))


def ffn(x, w, name, activation):
    y = linear(activation(linear(x, w, f"{name}/up")), w, f"{name}/output/dense")
    return layer_norm(x + y, w, f"{name}/output/LayerNorm")


def embeddings(w, ids):
    x = w["word_embeddings.weight"][ids] + w["token_type_embeddings.weight"][0]
    return layer_norm(x + w["position_embeddings.weight"][:TOKENS], w, "embeddings/LayerNorm")


def head(x, w):
    pooled = np.tanh(x[:, 0] @ w["pooler.weight"].T + w["pooler.bias"])
    return pooled @ w["logits.weight"].T + w["logits.bias"]


def run(path, feed):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, feed)[0]


@pytest.fixture
def feed():
    inputs = random_inputs(Workload(batch=BATCH, seq_len=TOKENS))
    inputs["attention_mask"][1, 3:] = 0
    return inputs


@pytest.mark.parametrize(("name", "activation"), [("gelu", gelu), ("relu", lambda x: np.maximum(x, 0))])
def test_a_layer_computes_self_attention_and_ffn(tmp_path, feed, name, activation):
    shape = EncoderShape.uniform(HIDDEN, HEAD, 1, HEADS, FFN)
    path = encoder_graph(shape, tmp_path / "m.onnx", activation=name)
    w = weights_of(path)
    mask = np.where(feed["attention_mask"][:, None, None] == 1, 0.0, -np.inf)
    x = attention(embeddings(w, feed["input_ids"]), w, "block.0/attention", mask)
    expected = head(ffn(x, w, "block.1/ffn", activation), w)
    np.testing.assert_allclose(run(path, feed), expected, atol=1e-5)


def test_of_a_removed_block_the_bias_the_residual_and_the_norm_are_left(tmp_path, feed):
    shape = EncoderShape(hidden_size=HIDDEN, head_size=HEAD, layers=(LayerWidths(heads=0, ffn=0),))
    path = encoder_graph(shape, tmp_path / "m.onnx")
    w = weights_of(path)
    x = embeddings(w, feed["input_ids"])
    for name in ("block.0/attention/output", "block.1/ffn/output"):
        x = layer_norm(x + w[f"{name}/dense.bias"], w, f"{name}/LayerNorm")
    np.testing.assert_allclose(run(path, feed), head(x, w), atol=1e-5)


def test_padding_does_not_change_the_logits(tmp_path):
    path = encoder_graph(EncoderShape.uniform(HIDDEN, HEAD, 2, HEADS, FFN), tmp_path / "m.onnx")
    short = random_inputs(Workload(seq_len=3))
    padded = {name: np.pad(values, ((0, 0), (0, 4))) for name, values in short.items()}
    np.testing.assert_allclose(run(path, short), run(path, padded), atol=1e-5)


def test_copies_of_a_unit_have_weights_of_their_own(tmp_path):
    unit = Unit(kind="ffn", hidden_size=HIDDEN, head_size=HEAD, width=FFN)
    w = weights_of(unit_graph(unit, 3, tmp_path / "m.onnx"))
    ups = [w[f"block.{i}/ffn/up.weight"] for i in range(3)]
    assert all(up.shape == (HIDDEN, FFN) for up in ups)
    assert not np.array_equal(ups[0], ups[1])
    assert not np.array_equal(ups[1], ups[2])


def test_the_asked_share_of_weights_is_zero(tmp_path):
    unit = Unit(kind="ffn", hidden_size=64, head_size=HEAD, width=256, pattern="unstructured", sparsity=0.9)
    w = weights_of(unit_graph(unit, 1, tmp_path / "m.onnx"))
    assert np.mean(w["block.0/ffn/up.weight"] == 0) == pytest.approx(0.9, abs=0.01)
    assert np.mean(w["pooler.weight"] == 0) == 0


def test_the_asked_share_of_blocks_of_4_inputs_is_zero(tmp_path):
    unit = Unit(kind="ffn", hidden_size=64, head_size=HEAD, width=256, pattern="block", sparsity=0.75)
    w = weights_of(unit_graph(unit, 1, tmp_path / "m.onnx"))
    up = w["block.0/ffn/up.weight"]  # [inputs, outputs]
    zeros = (up.reshape(16, 4, 256) == 0).sum(axis=1)
    assert set(np.unique(zeros)) == {0, 4}
    assert np.mean(zeros == 4) == pytest.approx(0.75, abs=0.02)
    assert str(unit) == "FFN of 256, 75% zero blocks"


def test_a_unit_graph_computes_the_mask_even_without_attention(tmp_path):
    unit = Unit(kind="glue", hidden_size=HIDDEN, head_size=HEAD)
    path = unit_graph(unit, 1, tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [output.shape[-1] for output in session.get_outputs()] == [2, "sequence_length"]


def test_long_sequences_have_positions(tmp_path):
    path = encoder_graph(EncoderShape.uniform(HIDDEN, HEAD, 1, 1, 8), tmp_path / "m.onnx", seq_len=600)
    assert run(path, random_inputs(Workload(seq_len=600))).shape == (1, 2)


def test_an_unknown_activation_is_refused():
    with pytest.raises(TrimfitError, match="got activation 'swish', expected one of gelu, relu"):
        EncoderGraph(HIDDEN, activation="swish")


def optimised_operators(path, folder, options=None):
    settings = onnxruntime.SessionOptions()
    settings.optimized_model_filepath = str(folder / "optimised.onnx")
    settings.log_severity_level = 4
    onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(settings.optimized_model_filepath).graph.node)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_onnxruntime_fuses_a_built_encoder_like_one_that_optimum_exports(exported_bert, tmp_path, precision):
    from hardware_profiles import OnnxRuntimeCpu

    runtime = OnnxRuntimeCpu()
    built = encoder_graph(EncoderShape.uniform(32, 8, 2, 4, 64), tmp_path / "built.onnx")
    ours = runtime.prepare(built, precision, tmp_path / "ours.onnx")
    theirs = runtime.prepare(exported_bert, precision, tmp_path / "theirs.onnx")
    assert optimised_operators(ours, tmp_path) == optimised_operators(theirs, tmp_path)


@pytest.fixture(scope="module")
def exported_bert(tmp_path_factory):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    exporters = pytest.importorskip("optimum.exporters.onnx")
    config = transformers.BertConfig(
        hidden_size=32, num_attention_heads=4, intermediate_size=64, num_hidden_layers=2, vocab_size=100
    )
    model = transformers.BertForSequenceClassification(config).eval()
    with torch.no_grad():  # all biases start at 0 and would be exported as one
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    folder = tmp_path_factory.mktemp("exported")
    exporters.onnx_export_from_model(model, folder, task="text-classification")
    return folder / "model.onnx"
