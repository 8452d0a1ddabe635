"""In a row of sparse layers activations stay in tiles, and the model computes the same."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from reference_operators import run

from benchmarks.workload import Workload
from hardware_profiles import EncoderShape, LayerWidths, encoder_graph, random_inputs
from hardware_profiles.runtimes.sparse.attention_cores import attention_cores
from hardware_profiles.runtimes.sparse.graph_view import GraphView
from hardware_profiles.runtimes.sparse.linear_ends import linear_ends
from hardware_profiles.runtimes.sparse.rewriting import sparsify

HIDDEN, FFN = 16, 24
TILED = ("TiledAttention", "TiledSelfAttention", "TiledAddLayerNormalization", "Tile", "Untile")


def has_zeros(shape, share):
    return share > 0.5


def encoder(path, *layers, sparsity=0.8, pattern="unstructured", activation="gelu"):
    shape = EncoderShape(hidden_size=HIDDEN, head_size=4, layers=layers or (LayerWidths(heads=4, ffn=FFN),) * 2)
    return onnx.load(encoder_graph(shape, path, sparsity=sparsity, pattern=pattern, activation=activation))


@pytest.fixture
def model(tmp_path):
    """Two layers of 4 heads and 24 neurons, 80% zeros."""
    return encoder(tmp_path / "model.onnx")


def tiled_operators(model):
    found = Counter(node.op_type for node in model.graph.node)
    return {name: found[name] for name in TILED if found[name]}


def layouts(model):
    """(input, output) layout of every sparse layer, in order."""
    default = {"input_layout": b"rows", "output_layout": b"rows"}
    found = []
    for node in model.graph.node:
        if node.op_type.startswith("SparseLinear"):
            given = {entry.name: entry.s for entry in node.attribute}
            found.append(tuple(given.get(name, value).decode() for name, value in default.items()))
    return found


def check_same(model, sparse, tokens=7, atol=1e-5):
    """Two sequences, the second of them padded."""
    feed = random_inputs(Workload(batch=2, seq_len=tokens))
    feed["attention_mask"][1, tokens // 2 :] = 0
    for expected, got in zip(run(model, feed), run(sparse, feed), strict=True):
        np.testing.assert_allclose(got, expected, atol=atol)


@pytest.mark.parametrize("tokens", [1, 7, 64, 65, 150])
def test_a_sparse_encoder_is_tiled_once_and_untiled_once(model, tokens):
    sparse = sparsify(model, "fp32", has_zeros)
    assert tiled_operators(sparse) == {"TiledSelfAttention": 2, "TiledAddLayerNormalization": 4, "Tile": 1, "Untile": 1}
    assert layouts(sparse) == [("tiles", "tiles")] * 8  # queries, keys and values in one
    check_same(model, sparse, tokens)


def test_layers_of_different_widths_are_tiled_too(tmp_path):
    layers = (LayerWidths(heads=1, ffn=8), LayerWidths(heads=3, ffn=40))
    model = encoder(tmp_path / "model.onnx", *layers, activation="relu")
    sparse = sparsify(model, "fp32", has_zeros)
    assert tiled_operators(sparse) == {"TiledSelfAttention": 2, "TiledAddLayerNormalization": 4, "Tile": 1, "Untile": 1}
    check_same(model, sparse)


def test_int8_layers_are_tiled_as_fp32_ones(tmp_path):
    model = encoder(tmp_path / "model.onnx", pattern="block")
    sparse = sparsify(model, "int8", has_zeros)
    assert tiled_operators(sparse) == tiled_operators(sparsify(model, "fp32", has_zeros))
    check_same(model, sparse, atol=0.01)


def test_tiles_can_be_declined(model):
    sparse = sparsify(model, "fp32", has_zeros, tiled=False)
    assert tiled_operators(sparse) == {}
    assert layouts(sparse) == [("rows", "rows")] * 12


def test_where_only_the_ffn_is_sparse_attention_alone_is_in_rows(model):
    sparse = sparsify(model, "fp32", lambda shape, share: share > 0.5 and FFN in shape)
    # the first norm follows dense layers only; tiles begin behind it and behind the second layer's attention
    assert tiled_operators(sparse) == {"TiledAddLayerNormalization": 3, "Tile": 2, "Untile": 2}
    assert layouts(sparse) == [("tiles", "tiles")] * 4
    check_same(model, sparse)


def test_a_lone_sparse_layer_reads_and_writes_rows(model):
    sparse = sparsify(model, "fp32", lambda shape, share: share > 0.5 and shape == (FFN, HIDDEN))
    assert tiled_operators(sparse) == {}
    assert layouts(sparse) == [("rows", "rows")] * 2
    check_same(model, sparse)


def test_removed_blocks_interrupt_the_tiles(tmp_path):
    layers = (LayerWidths(heads=2, ffn=0), LayerWidths(heads=0, ffn=FFN), LayerWidths(heads=4, ffn=FFN))
    model = encoder(tmp_path / "model.onnx", *layers)
    sparse = sparsify(model, "fp32", has_zeros)
    assert tiled_operators(sparse)["TiledSelfAttention"] == 2
    assert tiled_operators(sparse)["Tile"] == tiled_operators(sparse)["Untile"] == 2
    check_same(model, sparse)


def test_an_encoder_without_attention_is_tiled_too(tmp_path):
    model = encoder(tmp_path / "model.onnx", LayerWidths(heads=0, ffn=FFN), LayerWidths(heads=0, ffn=FFN))
    sparse = sparsify(model, "fp32", has_zeros)
    assert layouts(sparse) == [("rows", "tiles"), ("tiles", "tiles")] * 2
    check_same(model, sparse)


def test_what_an_output_of_the_model_shows_is_there_in_rows_too(model):
    middle = "block.1/ffn/output/LayerNorm"
    model.graph.output.append(helper.make_tensor_value_info(middle, TensorProto.FLOAT, None))
    sparse = sparsify(model, "fp32", has_zeros)
    assert tiled_operators(sparse)["Untile"] == 2
    check_same(model, sparse)


def test_a_sparse_pooler_has_no_tokens_to_tile(model):
    sparse = sparsify(model, "fp32", lambda *_: True)
    assert layouts(sparse) == [("tiles", "tiles")] * 8 + [("rows", "rows")] * 2
    check_same(model, sparse)


def test_nothing_of_the_attention_mask_is_left(model):
    sparse = sparsify(model, "fp32", has_zeros)
    assert not [node.name for node in sparse.graph.node if node.name.startswith("mask/")]
    known = {name for node in sparse.graph.node for name in node.output}
    assert {entry.name for entry in sparse.graph.value_info} <= known


def cores_of(model):
    view = GraphView(model)
    return list(attention_cores(view, list(linear_ends(view))))


def test_attention_is_found_with_its_heads_scale_and_mask(model):
    core = cores_of(model)[0]
    assert (core.heads, core.scale, core.attention_mask) == (4, 0.5, "attention_mask")
    assert (core.query, core.value) == ("block.0/attention/self/query/Add", "block.0/attention/self/value/Add")
    assert len(cores_of(model)) == 2


ANOTHER_THING = {
    "another scale": ("ones_f", np.full(1, 2, np.float32)),
    "a mask that only dims": ("lowest", np.float32(-1)),
    "a mask that hides the others": ("one_f", np.float32(0)),
}


@pytest.mark.parametrize(("name", "value"), ANOTHER_THING.values(), ids=ANOTHER_THING)
def test_what_computes_something_else_is_no_attention(model, name, value):
    (tensor,) = (tensor for tensor in model.graph.initializer if tensor.name == name)
    tensor.CopyFrom(numpy_helper.from_array(np.asarray(value), name))
    assert cores_of(model) == []
    sparse = sparsify(model, "fp32", has_zeros)
    assert "TiledAttention" not in tiled_operators(sparse)
    check_same(model, sparse)


EXPORTS = [(family, attention) for family in ("bert", "distilbert", "roberta") for attention in ("sdpa", "eager")]
EXPORTS += [("xlm-roberta", "sdpa"), ("electra", "eager")]


@pytest.mark.parametrize(("family", "attention"), EXPORTS)
def test_exported_encoders_are_tiled_once_and_untiled_once(family, attention, export):
    sparse = sparsify(onnx.load(export(family, attention)[1]), "fp32", has_zeros)
    assert tiled_operators(sparse) == {"TiledSelfAttention": 2, "TiledAddLayerNormalization": 4, "Tile": 1, "Untile": 1}
    assert layouts(sparse) == [("tiles", "tiles")] * 8  # queries, keys and values in one
