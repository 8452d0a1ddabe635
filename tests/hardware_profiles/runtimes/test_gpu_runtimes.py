"""The runtimes of a GPU, with this CPU in its place: the conformance of all runtimes, and what is their own."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchmarks.errors import TrimfitError
from benchmarks.gpu.place import GpuPlace, stand_in
from benchmarks.place import in_force
from benchmarks.workload import Workload
from hardware_profiles import EncoderShape, OnnxRuntimeCpu, encoder_graph, get, random_inputs, runtimes
from hardware_profiles.gpu_machine import gpu_peak, write_products
from hardware_profiles.runtimes import (
    OnnxRuntimeCuda,
    TorchCuda,
    TorchTwoOfFour,
    refused,
    stock_name,
    torch_runtime,
)
from hardware_profiles.runtimes.half_precision import fuse_attention, write_fp16

SHAPE = EncoderShape.uniform(32, 8, 2, 4, 64)
FEED = random_inputs(Workload(batch=2, seq_len=7))
NAMES = ("onnxruntime-cuda", "torch-cuda")
FAMILIES = ("bert", "roberta", "distilbert", "electra")
every_runtime = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(autouse=True)
def place():
    found = stand_in()
    with in_force(found):
        yield found


@pytest.fixture
def model(tmp_path):
    return encoder_graph(SHAPE, tmp_path / "model.onnx")


def logits(runtime, path, feed=FEED):
    return runtime.session(path, 1).run(None, feed)[0]


def with_gpu(place, **facts):
    """The same place with another GPU."""
    return in_force(GpuPlace(place.gpu.model_copy(update=facts), place.index))


# -- conformance --------------------------------------------------------------------------------------------


def test_a_gpu_has_its_own_runtimes_onnxruntime_first():
    assert [runtime.name for runtime in runtimes()] == ["onnxruntime-cuda", "torch-cuda", "torch-cuda+2:4"]
    assert stock_name() == "onnxruntime-cuda"
    assert "onnxruntime-tensorrt" in refused()


@every_runtime
def test_a_runtime_is_found_by_its_name(name):
    assert get(name).name == name
    assert get(name).version
    assert get(name).loader().is_file()


@pytest.mark.parametrize("name", [*NAMES, "torch-cuda+2:4"])
def test_options_survive_json_and_give_the_same_runtime(name):
    for other in get(name).alternatives(threads=1).values():
        assert get(name).with_options(json.loads(json.dumps(other.options()))) == other
        half = other.at("fp16")
        assert get(name).with_options(half.options()) == half


@every_runtime
def test_stock_is_without_options_and_the_first_alternative(name):
    assert get(name).options() == {}
    assert next(iter(get(name).alternatives(threads=1).items())) == ("stock", get(name))


@every_runtime
def test_an_unknown_option_and_an_unknown_precision_are_refused(name, model, tmp_path):
    with pytest.raises(TrimfitError, match=r"got option 'turbo'"):
        get(name).with_options({"turbo": True})
    with pytest.raises(TrimfitError, match=r"got precision 'int3', expected one of fp32"):
        get(name).prepare(model, "int3", tmp_path / "x.onnx")


@every_runtime
def test_fp32_is_the_model_itself_and_fp16_is_half_of_it(name, model, tmp_path):
    runtime = get(name)
    assert runtime.prepare(model, "fp32", tmp_path / "x.onnx") == model
    half = runtime.prepare(model, "fp16", tmp_path / "half.onnx")
    assert half.stat().st_size < 0.7 * model.stat().st_size


@every_runtime
def test_every_precision_computes_about_the_same_logits(name, model, tmp_path):
    runtime, expected = get(name), logits(OnnxRuntimeCpu(), model)
    for precision, tolerance in (("fp32", 1e-5), ("fp16", 0.02)):
        prepared = runtime.prepare(model, precision, tmp_path / f"{precision}.onnx")
        found = logits(runtime.at(precision), prepared)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=tolerance * np.abs(expected).max())


@every_runtime
def test_all_alternatives_compute_the_same_logits(name, model):
    expected = logits(OnnxRuntimeCpu(), model)
    for other in get(name).alternatives(threads=1).values():
        session = other.session(model, 1)
        for _ in range(4):
            np.testing.assert_allclose(session.run(None, FEED)[0], expected, atol=1e-5)


@every_runtime
def test_a_broken_model_is_refused_in_one_line(name, tmp_path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(TrimfitError, match=rf"^got {broken}, expected an ONNX model") as caught:
        get(name).session(broken, 1)
    assert "\n" not in str(caught.value)


# -- where there is no GPU ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [OnnxRuntimeCuda, TorchCuda, TorchTwoOfFour])
def test_without_a_gpu_in_force_a_runtime_says_how_to_have_one(kind):
    from benchmarks.local_place import LocalPlace

    with in_force(LocalPlace()), pytest.raises(TrimfitError, match=r"without a GPU in force.*: add --device cuda$"):
        kind()


def test_a_runtime_of_the_other_kind_of_device_is_refused_with_the_way_to_it():
    from benchmarks.local_place import LocalPlace

    with pytest.raises(TrimfitError, match=r"got runtime 'onnxruntime-cpu', .*: leave --device cuda out"):
        get("onnxruntime-cpu")
    with in_force(LocalPlace()):
        with pytest.raises(TrimfitError, match=r"got runtime 'torch-cuda', .*: it runs on GPUs, with --device cuda"):
            get("torch-cuda")
        assert not [runtime for runtime in runtimes() if "cuda" in runtime.name]


def test_an_onnxruntime_without_cuda_and_a_torch_without_it_leave_nothing_and_say_what_to_install(place, monkeypatch):
    monkeypatch.setattr(torch_runtime, "_sees", lambda index: False)
    with in_force(GpuPlace(place.gpu, 0)):
        assert runtimes() == ()
        assert "pip install 'onnxruntime-gpu[cuda,cudnn]'" in refused()["onnxruntime-cuda"]
        assert "that sees no GPU 0" in refused()["torch-cuda"]
        with pytest.raises(TrimfitError, match=r"nothing that runs ONNX models on it.*pip install 'onnxruntime-gpu"):
            stock_name()


def test_torch_is_the_stock_runtime_where_onnxruntime_has_no_cuda(place, monkeypatch):
    monkeypatch.setattr(torch_runtime, "_sees", lambda index: True)
    with in_force(GpuPlace(place.gpu, 0)):
        assert stock_name() == "torch-cuda"


def test_tensor_cores_decide_the_precisions(place):
    with with_gpu(place, compute_capability=(6, 1)):
        assert get("onnxruntime-cuda").precisions == get("torch-cuda").precisions == ("fp32",)
        with pytest.raises(TrimfitError, match=r"expected compute capability 8.0 or above for 2:4 zeros"):
            get("torch-cuda+2:4")


# -- fp16 ---------------------------------------------------------------------------------------------------


def test_attention_becomes_one_operator_with_the_heads_of_its_layer(tmp_path):
    layers = [{"heads": heads, "ffn": 64} for heads in (4, 1)]
    model = encoder_graph(EncoderShape(hidden_size=32, head_size=8, layers=layers), tmp_path / "m.onnx")
    fused = fuse_attention(onnx.load(model))
    found = [node for node in fused.graph.node if node.op_type == "MultiHeadAttention"]
    assert [helper.get_attribute_value(node.attribute[0]) for node in found] == [4, 1]
    assert "Softmax" not in {node.op_type for node in fused.graph.node}
    onnx.save_model(fused, tmp_path / "fused.onnx")
    masked = {**FEED, "attention_mask": np.array([[1] * 7, [1, 1, 1, 0, 0, 0, 0]])}
    expected = logits(OnnxRuntimeCpu(), model, masked)
    np.testing.assert_allclose(logits(OnnxRuntimeCpu(), tmp_path / "fused.onnx", masked), expected, atol=1e-5)


def test_what_is_no_attention_stays(tmp_path):
    model = onnx.load(encoder_graph(EncoderShape.uniform(32, 8, 1, 0, 64), tmp_path / "m.onnx"))
    assert fuse_attention(model) == model


def test_weights_are_halves_and_inputs_and_outputs_are_not(model, tmp_path):
    half = onnx.load(write_fp16(model, tmp_path / "half.onnx"))
    kinds = Counter(tensor.data_type for tensor in half.graph.initializer if len(tensor.dims) == 2)
    assert set(kinds) - {TensorProto.INT64} == {TensorProto.FLOAT16}
    assert {entry.type.tensor_type.elem_type for entry in half.graph.input} == {TensorProto.INT64}
    assert [entry.type.tensor_type.elem_type for entry in half.graph.output] == [TensorProto.FLOAT]


def test_the_nodes_of_a_half_model_come_in_the_order_in_which_they_run(model, tmp_path):
    onnx.checker.check_model(write_fp16(write_products(tmp_path / "p.onnx", (4, 4, 4)), tmp_path / "half.onnx"))


def test_nodes_that_are_kept_have_fp32_weights(model, tmp_path):
    linears = [node for node in onnx.load(model).graph.node if node.op_type == "MatMul" and "/MatMul" in node.name]
    half = onnx.load(write_fp16(model, tmp_path / "half.onnx", keep=[linears[0].name]))
    kinds = {tensor.name: tensor.data_type for tensor in half.graph.initializer}
    assert kinds[linears[0].input[1]] == TensorProto.FLOAT
    assert kinds[linears[1].input[1]] == TensorProto.FLOAT16
    logits(OnnxRuntimeCpu(), tmp_path / "half.onnx")


def test_a_weight_that_fp16_cannot_hold_becomes_its_largest(model, tmp_path):
    graph = onnx.load(model)
    table = next(tensor for tensor in graph.graph.initializer if tensor.name == "word_embeddings.weight")
    values = numpy_helper.to_array(table).copy()
    values[0, 0] = 1e6
    table.CopyFrom(numpy_helper.from_array(values, table.name))
    onnx.save_model(graph, tmp_path / "large.onnx")
    half = onnx.load(write_fp16(tmp_path / "large.onnx", tmp_path / "half.onnx"))
    there = next(tensor for tensor in half.graph.initializer if tensor.name == table.name)
    assert numpy_helper.to_array(there).max() == 65504


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_exported_encoders_run_in_fp16_within_its_rounding(export, family, attention, tmp_path):
    pytest.importorskip("torch")
    if attention == "sdpa" and family == "electra":
        attention = "eager"
    _, path = export(family, attention)
    feed = exported_feed(path)
    half = write_fp16(path, tmp_path / "half.onnx")
    assert "MultiHeadAttention" in {node.op_type for node in onnx.load(half).graph.node}
    expected = logits(OnnxRuntimeCpu(), path, feed)
    np.testing.assert_allclose(logits(OnnxRuntimeCpu(), half, feed), expected, atol=0.02 * np.abs(expected).max())


def exported_feed(path):
    ids = np.random.default_rng(0).integers(2, 100, (2, 9))
    mask = np.array([[1] * 9, [1] * 4 + [0] * 5])
    ids[mask == 0] = 1  # the padding's
    given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    return {entry.name: given[entry.name] for entry in onnx.load(path).graph.input}


# -- PyTorch ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_pytorch_computes_what_onnxruntime_does_of_every_family(export, family):
    _, path = export(family, "eager" if family == "electra" else "sdpa")
    feed = exported_feed(path)
    session = get("torch-cuda").session(path, 1)
    for rows in (slice(None), slice(0, 1)):
        given = {name: values[rows] for name, values in feed.items()}
        np.testing.assert_allclose(session.run(None, given)[0], logits(OnnxRuntimeCpu(), path, given), atol=1e-4)


def test_its_code_has_fused_functions_and_nothing_about_shapes(model):
    import torch
    import torch.nn.functional as F

    from hardware_profiles.runtimes.torch_graph.operators import attend
    from hardware_profiles.runtimes.torch_graph.program import OnnxProgram

    program = OnnxProgram(onnx.load(model), torch.float32, lambda tensor, linear: tensor)
    code = program.write({name: torch.from_numpy(values) for name, values in FEED.items()})
    calls = Counter(node.target for node in code.graph.nodes if node.op == "call_function")
    layers = len(SHAPE.layers)
    assert (calls[attend], calls[F.gelu], calls[F.layer_norm]) == (layers, layers, 2 * layers + 1)
    assert calls[F.linear] == 6 * layers + 2
    assert not {"softmax", "erf", "matmul"} & {getattr(target, "__name__", "") for target in calls}


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
def test_floats_are_computed_in_the_type_that_is_asked_for(model, dtype):
    found, expected = logits(get("torch-cuda").at(dtype), model), logits(OnnxRuntimeCpu(), model)
    assert 0 < np.abs(found - expected).max() < 0.03 * np.abs(expected).max()


def test_the_fp16_file_that_is_deployed_is_the_one_it_runs(model, tmp_path):
    half = get("torch-cuda").prepare(model, "fp16", tmp_path / "half.onnx")
    expected = logits(OnnxRuntimeCpu(), half)
    np.testing.assert_allclose(logits(get("torch-cuda"), half), expected, atol=0.02 * np.abs(expected).max())


def test_compiled_code_computes_the_same(model, monkeypatch):
    from hardware_profiles.runtimes.torch_graph import session

    monkeypatch.setattr(session, "_BACKEND", "eager")
    compiled = get("torch-cuda").with_options({"compile": True})
    np.testing.assert_allclose(logits(compiled, model), logits(OnnxRuntimeCpu(), model), atol=1e-5)


def test_an_unknown_operator_is_refused_by_its_name(tmp_path):
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 2]) for name in ("x", "y"))
    graph = helper.make_graph([helper.make_node("Det", ["x"], ["y"])], "g", [x], [y])
    onnx.save_model(helper.make_model(graph), tmp_path / "det.onnx")
    with pytest.raises(TrimfitError, match=r"got operator ai.onnx.Det, expected one of an encoder's"):
        get("torch-cuda").session(tmp_path / "det.onnx", 1)


def test_layers_of_two_zeros_in_four_are_known_for_kernels_that_skip_them(tmp_path):
    zeros = encoder_graph(SHAPE, tmp_path / "zeros.onnx", pattern="n:m", sparsity=0.5)
    sparse = get("torch-cuda+2:4")
    for path, layers in ((zeros, 6 * len(SHAPE.layers)), (encoder_graph(SHAPE, tmp_path / "dense.onnx"), 0)):
        session = sparse.session(path, 1)
        np.testing.assert_allclose(session.run(None, FEED)[0], logits(OnnxRuntimeCpu(), path), atol=1e-5)
        assert session.facts()["nodes"] == {"torch on cpu": {"2:4 linear layers": layers}}


def test_two_of_four_is_a_reference_at_fp16_alone():
    runtime = get("torch-cuda+2:4")
    assert (runtime.precisions, runtime.skips_zeros, runtime.reference) == (("fp16",), True, True)
    assert (2, 4) in runtime.n_of_m


# -- the GPU itself -----------------------------------------------------------------------------------------


@every_runtime
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_peak_is_that_of_products_through_the_runtime(place, name, precision):
    peak = gpu_peak(get(name), precision, place)
    assert (peak.precision, peak.threads) == (precision, 1)
    assert peak.gflops > 0


def test_the_products_of_the_peak_are_all_computed_and_keep_their_size(tmp_path):
    path = write_products(tmp_path / "p.onnx", (64, 32, 128))
    kinds = Counter(node.op_type for node in onnx.load(path).graph.node)
    assert kinds["MatMul"] == 8
    (y,) = OnnxRuntimeCpu().session(path, 1).run(None, {"one": np.ones(1, np.float32)})
    assert 0.05 < np.abs(y).std() < 20
