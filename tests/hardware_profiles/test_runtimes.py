"""What every runtime must do, and what onnxruntime on the CPU does."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from benchmarks.errors import TrimfitError
from benchmarks.workload import Workload
from hardware_profiles import EncoderShape, OnnxRuntimeCpu, encoder_graph, get, random_inputs, runtimes
from hardware_profiles.isa import multiplies_int8_exactly
from hardware_profiles.runtimes import refused
from hardware_profiles.runtimes.embedding_tables import coarse_lookups, relative_error

every_runtime = pytest.mark.parametrize(
    "runtime",
    [
        *(pytest.param(runtime, id=runtime.name) for runtime in runtimes()),
        *(pytest.param(None, id=name, marks=pytest.mark.skip(reason=why)) for name, why in refused().items()),
    ],
)


@pytest.fixture
def model(tmp_path):
    return encoder_graph(EncoderShape.uniform(32, 8, 2, 4, 64), tmp_path / "model.onnx")


@every_runtime
def test_a_runtime_is_found_by_its_name(runtime):
    assert get(runtime.name) == runtime
    assert runtime.version


@every_runtime
def test_options_survive_json_and_give_the_same_runtime(runtime):
    for other in runtime.alternatives(threads=2).values():
        assert runtime.with_options(json.loads(json.dumps(other.options()))) == other


@every_runtime
def test_the_first_alternative_is_the_runtime_as_it_comes(runtime):
    assert next(iter(runtime.alternatives(threads=1).items())) == ("stock", runtime)


@every_runtime
def test_an_unknown_option_is_refused_by_name(runtime):
    with pytest.raises(TrimfitError, match="got option 'turbo'"):
        runtime.with_options({"turbo": True})


@every_runtime
def test_fp32_is_the_model_itself_or_a_form_that_the_worker_is_told_how_to_load(runtime, model, tmp_path):
    assert runtime.precisions[0] == "fp32"
    before, folder = model.read_bytes(), tmp_path / "made"
    folder.mkdir()
    prepared = runtime.prepare(model, "fp32", folder / "x.onnx")
    assert model.read_bytes() == before
    if runtime.loader() is None:
        assert prepared == model
        assert not list(folder.iterdir())
    else:
        assert list(folder.iterdir()) == [prepared]
        assert (prepared.stem, prepared.suffix != ".onnx") == ("x", True)
        assert runtime.loader().is_file()


@every_runtime
def test_fp32_logits_are_as_near_as_it_says_with_padding_and_in_batches(runtime, model, tmp_path):
    prepared = runtime.prepare(model, "fp32", tmp_path / "x.onnx")
    session, stock = runtime.session(prepared, 1), OnnxRuntimeCpu().session(model, 1)
    for batch, tokens, hidden in ((1, 7, 0), (3, 16, 5), (1, 1, 0)):
        feed = random_inputs(Workload(batch=batch, seq_len=tokens))
        feed["attention_mask"][-1, tokens - hidden :] = 0
        np.testing.assert_allclose(session.run(None, feed)[0], stock.run(None, feed)[0], atol=runtime.logit_tolerance)


@every_runtime
def test_a_session_names_its_inputs_and_answers_the_outputs_asked_for(runtime, model):
    session, feed = runtime.session(model, 1), random_inputs(Workload(seq_len=7))
    assert sorted(entry.name for entry in session.get_inputs()) == sorted(feed)
    np.testing.assert_array_equal(session.run(["logits"], feed)[0], session.run(None, feed)[0])


@every_runtime
def test_every_precision_computes_about_the_same_logits(runtime, model, tmp_path):
    feed = random_inputs(Workload(batch=2, seq_len=7))
    expected = runtime.session(model, 1).run(None, feed)[0]
    for precision in runtime.precisions:
        prepared = runtime.prepare(model, precision, tmp_path / f"{precision}.onnx", calibration=[feed])
        logits = runtime.at(precision).session(prepared, 1).run(None, feed)[0]
        np.testing.assert_allclose(logits, expected, atol=0.05 * np.abs(expected).max())


@every_runtime
def test_all_alternatives_compute_the_same_logits(runtime, model):
    feed = random_inputs(Workload(seq_len=7))
    expected = runtime.session(model, 1).run(None, feed)[0]
    for other in runtime.alternatives(threads=2).values():
        np.testing.assert_allclose(other.session(model, 1).run(None, feed)[0], expected, atol=1e-5)


@every_runtime
def test_an_unknown_precision_is_refused(runtime, model, tmp_path):
    with pytest.raises(TrimfitError, match="got precision 'int3', expected one of fp32"):
        runtime.prepare(model, "int3", tmp_path / "x.onnx")


@every_runtime
def test_a_contested_precision_and_its_rival_are_precisions_of_the_runtime(runtime):
    assert {*runtime.contested, *runtime.contested.values()} <= set(runtime.precisions)


@every_runtime
def test_what_is_kept_in_fp32_is_computed_in_fp32(runtime, model, tmp_path):
    feed = random_inputs(Workload(seq_len=7))
    linears = [node.name for node in onnx.load(model).graph.node if node.op_type == "MatMul" and "/" in node.name]
    for precision in runtime.precisions[1:]:
        some, all_int8 = (
            runtime.prepare(model, precision, tmp_path / f"{precision}-{len(kept)}.onnx", [feed], kept)
            for kept in (linears, ())
        )
        assert some.stat().st_size > all_int8.stat().st_size
        if some.suffix == ".onnx":
            products = [node for node in onnx.load(some).graph.node if node.op_type == "MatMul"]
            assert {node.name for node in products} >= set(linears)


@every_runtime
def test_a_broken_model_is_refused_in_one_line(runtime, tmp_path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(TrimfitError) as caught:
        runtime.session(broken, 1)
    assert str(caught.value).startswith(f"got {broken}, expected an ONNX model")
    assert "\n" not in str(caught.value)


def test_an_unknown_runtime_is_refused_with_a_list():
    with pytest.raises(TrimfitError, match="got runtime 'abacus', expected one of onnxruntime-cpu"):
        get("abacus")


def test_static_int8_without_rows_is_refused(model, tmp_path):
    with pytest.raises(TrimfitError, match="got no rows for int8-static, expected some to calibrate with"):
        OnnxRuntimeCpu().prepare(model, "int8-static", tmp_path / "static.onnx")


def test_static_int8_knows_its_scales_beforehand_and_leaves_the_head_alone(model, tmp_path):
    feed = random_inputs(Workload(seq_len=7))
    static = onnx.load(OnnxRuntimeCpu().prepare(model, "int8-static", tmp_path / "static.onnx", [feed]))
    kinds = Counter(node.op_type for node in static.graph.node)
    linears = 2 * 6  # of two layers
    inputs = 2 * 4  # query, key and value read one tensor
    assert kinds["QuantizeLinear"] == inputs
    assert kinds["DequantizeLinear"] >= linears + inputs
    assert not kinds["DynamicQuantizeLinear"]
    assert {path.name for path in tmp_path.iterdir()} == {"model.onnx", "static.onnx"}


def test_static_int8_follows_the_range_of_its_rows(model, tmp_path):
    cpu, feeds = OnnxRuntimeCpu(), [random_inputs(Workload(seq_len=7), seed) for seed in range(2)]
    first, second = (
        onnx.load(cpu.prepare(model, "int8-static", tmp_path / f"{seed}.onnx", [feed]))
        for seed, feed in enumerate(feeds)
    )
    both = onnx.load(cpu.prepare(model, "int8-static", tmp_path / "both.onnx", feeds))
    one, other, all_rows = (activation_scales(found) for found in (first, second, both))
    assert one.keys() == other.keys() == all_rows.keys()
    assert one != other
    for name, scale in all_rows.items():
        assert min(one[name], other[name]) <= scale <= max(one[name], other[name])


def activation_scales(model):
    """Scale by tensor that QuantizeLinear reads."""
    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    return {n.input[0]: float(known[n.input[1]]) for n in model.graph.node if n.op_type == "QuantizeLinear"}


def test_int8_embeddings_are_smaller_and_leave_no_other_file(model, tmp_path):
    folder = tmp_path / "int8"
    folder.mkdir()
    small = OnnxRuntimeCpu().prepare(model, "int8", folder / "small.onnx")
    large = OnnxRuntimeCpu(quantize_embeddings=False).prepare(model, "int8", folder / "large.onnx")
    assert small.stat().st_size < 0.6 * large.stat().st_size
    assert sorted(path.name for path in folder.iterdir()) == ["large.onnx", "small.onnx"]
    assert [path.name for path in tmp_path.glob("*.onnx")] == ["model.onnx"]


def test_a_table_of_one_huge_entry_stays_in_fp32(tmp_path):
    table = np.full((100, 8), 0.01, np.float32)
    assert relative_error(table) < 0.01
    table[3, 4] = 50.0
    assert relative_error(table) > 0.05
    model = encoder_graph(EncoderShape.uniform(32, 8, 1, 4, 64), tmp_path / "m.onnx")
    graph = onnx.load(model)
    words = next(tensor for tensor in graph.graph.initializer if tensor.name == "word_embeddings.weight")
    values = numpy_helper.to_array(words).copy()
    values[3, 4] = 50.0
    words.CopyFrom(numpy_helper.from_array(values, words.name))
    assert coarse_lookups(graph) == ["embeddings/word"]


def test_weights_keep_8_bits_where_the_cpu_multiplies_them_exactly():
    assert multiplies_int8_exactly(("avx2", "avx512_vnni"))
    assert multiplies_int8_exactly(("asimd",))
    assert not multiplies_int8_exactly(("avx2", "avx512f"))
