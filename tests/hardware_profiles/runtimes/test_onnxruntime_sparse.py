"""onnxruntime with sparse operators: which files it makes, and that they compute what PyTorch does."""

from __future__ import annotations

import sys
from collections import Counter

import numpy as np
import onnx
import pytest

from benchmarks.errors import TrimfitError
from benchmarks.workload import Workload
from hardware_profiles import EncoderShape, encoder_graph, get, random_inputs, runtimes
from hardware_profiles.runtimes import OnnxRuntimeSparse, registry
from hardware_profiles.runtimes.sparse.linear_layers import LinearShape

NAME = "onnxruntime-cpu+sparse"

pytestmark = pytest.mark.skipif(
    NAME not in [runtime.name for runtime in runtimes()], reason="no operator library for this machine"
)


def feed_of(batch, tokens, hidden=0):
    """input_ids and attention_mask [batch, tokens]; the last row has `hidden` tokens of padding (word 1)."""
    ids = np.random.default_rng(0).integers(2, 100, (batch, tokens))
    mask = np.ones_like(ids)
    mask[-1, tokens - hidden :] = 0
    return {"input_ids": np.where(mask == 1, ids, 1), "attention_mask": mask}


def logits(session, feed):
    given = {**feed, "token_type_ids": np.zeros_like(feed["input_ids"])}
    return session.run(None, {entry.name: given[entry.name] for entry in session.get_inputs()})[0]


def torch_logits(model, feed):
    torch = pytest.importorskip("torch")
    with torch.no_grad():
        return model(**{name: torch.from_numpy(values) for name, values in feed.items()}).logits.numpy()


def operators(path):
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def test_static_int8_is_refused(runtime, tmp_path):
    with pytest.raises(TrimfitError, match="got precision 'int8-static', expected one of fp32, int8"):
        runtime.prepare(tmp_path / "any.onnx", "int8-static", tmp_path / "x.onnx")


@pytest.fixture
def runtime():
    return get(NAME)


EXPORTS = [(family, attention) for family in ("bert", "distilbert", "roberta") for attention in ("sdpa", "eager")]
EXPORTS += [("xlm-roberta", "sdpa"), ("electra", "eager")]


@pytest.mark.parametrize(("family", "attention"), EXPORTS)
def test_a_sparse_export_gives_the_logits_of_pytorch(family, attention, export, runtime, tmp_path):
    model, path = export(family, attention)
    sparse = runtime.prepare(path, "fp32", tmp_path / "sparse.onnx")
    assert operators(sparse)["SparseLinear"] == 2 * 4  # queries, keys and values in one
    session = runtime.session(sparse, 1)
    for batch, tokens, hidden in ((1, 1, 0), (1, 7, 0), (3, 16, 5), (2, 65, 40), (1, 130, 1)):
        feed = feed_of(batch, tokens, hidden)
        np.testing.assert_allclose(logits(session, feed), torch_logits(model, feed), atol=1e-4)


def test_int8_blocks_stand_beside_dense_int8_layers(export, runtime, tmp_path):
    _, path = export("bert")
    sparse = runtime.prepare(path, "int8", tmp_path / "int8.onnx")
    assert operators(sparse)["SparseLinearInt8"] == 2 * 4
    assert operators(sparse)["MatMulInteger"] == 2
    assert [file.name for file in tmp_path.iterdir()] == ["int8.onnx"]
    feed = feed_of(2, 20, 3)
    expected = logits(runtime.session(path, 1), feed)
    np.testing.assert_allclose(
        logits(runtime.session(sparse, 1), feed), expected, atol=0.05 * float(np.abs(expected).max())
    )


@pytest.fixture
def half_zero(tmp_path):
    """Half of the weights of the blocks' linear layers are zero."""
    return encoder_graph(EncoderShape.uniform(32, 8, 2, 4, 64), tmp_path / "model.onnx", sparsity=0.5)


def test_a_layer_is_sparse_from_the_share_that_was_measured(half_zero, runtime, tmp_path):
    assert runtime.prepare(half_zero, "fp32", tmp_path / "none.onnx") == half_zero
    options = {**runtime.options(), "break_even": {"fp32": {"64x32": 0.45, "32x64": 0.55, "32x32": 0.55}}}
    measured = runtime.with_options(options)
    assert measured.options() == options
    sparse = measured.prepare(half_zero, "fp32", tmp_path / "some.onnx")
    assert operators(sparse)["SparseLinear"] == 2  # the FFN's first layers
    feed = random_inputs(Workload(seq_len=7))
    np.testing.assert_allclose(
        measured.session(sparse, 1).run(None, feed)[0], runtime.session(half_zero, 1).run(None, feed)[0], atol=1e-5
    )


def test_break_even_of_one_precision_says_nothing_about_another(runtime):
    measured = runtime.with_options({"break_even": {"fp32": {"64x32": 0.4}}})
    shape = LinearShape(64, 32)
    assert [measured.pays("fp32", shape, share) for share in (0.39, 0.4)] == [False, True]
    assert [measured.pays("int8", shape, share) for share in (0.4, 0.7)] == [False, True]


def test_a_size_that_was_not_measured_breaks_even_where_the_nearest_does(runtime):
    measured = runtime.with_options({"break_even": {"fp32": {"64x32": 0.4, "512x32": 0.6}}})
    assert [measured.pays("fp32", LinearShape(80, 32), share) for share in (0.39, 0.4)] == [False, True]
    assert [measured.pays("fp32", LinearShape(400, 40), share) for share in (0.59, 0.6)] == [False, True]


def test_stock_onnxruntime_cannot_load_a_sparse_model_and_says_so(export, runtime, tmp_path):
    sparse = runtime.prepare(export("bert")[1], "fp32", tmp_path / "sparse.onnx")
    with pytest.raises(TrimfitError, match="expected an ONNX model that onnxruntime loads"):
        get("onnxruntime-cpu").session(sparse, 1)


def test_the_version_names_the_library_and_what_it_is_restricted_to(runtime, monkeypatch):
    monkeypatch.delenv("TRIMFIT_ISA", raising=False)
    free = runtime.version
    assert "+sparse." in free
    monkeypatch.setenv("TRIMFIT_ISA", "avx2")
    assert runtime.version == f"{free}.avx2"


def test_a_library_that_has_moved_is_replaced_by_this_machines(runtime):
    assert runtime.with_options({"custom_op_library": "/elsewhere/lib.so"}) == runtime


def test_what_is_no_library_is_refused_in_one_line(runtime, half_zero, tmp_path):
    broken = tmp_path / "broken.so"
    broken.write_bytes(b"no library")
    with pytest.raises(TrimfitError, match=r"expected a library that onnxruntime .* loads") as caught:
        runtime.with_options({"custom_op_library": str(broken)}).session(half_zero, 1)
    assert "\n" not in str(caught.value)


def test_without_a_library_there_is_no_such_runtime(monkeypatch):
    class Missing(OnnxRuntimeSparse):
        def __init__(self):
            raise TrimfitError("got no library, expected one: build it")

    monkeypatch.setattr(registry, "_CPU_KINDS", (registry.OnnxRuntimeCpu, Missing))
    assert [runtime.name for runtime in runtimes()] == ["onnxruntime-cpu"]
    with pytest.raises(TrimfitError, match="got no library"):
        get(NAME)


def test_a_cpu_without_avx2_keeps_to_the_stock_runtime(monkeypatch):
    monkeypatch.setattr(sys.modules[OnnxRuntimeSparse.__module__], "instruction_sets", lambda: ("sse4_1", "avx"))
    with pytest.raises(
        TrimfitError, match="got a CPU without avx2 and fma, expected them for onnxruntime-cpu\\+sparse"
    ):
        get(NAME)
    assert NAME not in [runtime.name for runtime in runtimes()]
