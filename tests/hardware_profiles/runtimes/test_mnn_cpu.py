"""MNN as a runtime: why it is refused, what its converter makes of a model, that it computes what onnxruntime does."""

from __future__ import annotations

import stat
import sys

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from benchmarks import Contestant, Workload
from benchmarks.contestant import Launch
from benchmarks.errors import TrimfitError
from benchmarks.place import in_force
from benchmarks.worker import __main__ as worker
from hardware_profiles import EncoderShape, OnnxRuntimeCpu, encoder_graph, get, random_inputs, runtimes
from hardware_profiles.runtimes import MnnCpu, form_of, refused
from hardware_profiles.runtimes.mnn_converter import convert
from hardware_profiles.runtimes.mnn_cpu import LOADER

NAME = "mnn-cpu"
WHY_NOT = refused().get(NAME, "")
needs_mnn = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)


@pytest.fixture
def model(tmp_path):
    return encoder_graph(EncoderShape.uniform(32, 8, 2, 4, 64), tmp_path / "model.onnx")


def padded(batch, tokens, hidden):
    """Random ids [batch, tokens]; the last row has `hidden` tokens of padding."""
    feed = random_inputs(Workload(batch=batch, seq_len=tokens))
    feed["attention_mask"][-1, tokens - hidden :] = 0
    return feed


# where it does not work


def test_without_mnn_the_pip_command_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "MNN", None)
    with pytest.raises(
        TrimfitError, match=r"got no MNN in this environment, expected it for mnn-cpu: pip install MNN$"
    ):
        get(NAME)
    assert NAME not in [runtime.name for runtime in runtimes()]
    assert refused()[NAME].endswith(": pip install MNN")


class Board:
    """A machine somewhere else with these packages."""

    name, is_here = "ssh://board", False

    def __init__(self, **packages):
        self.packages = packages

    def environment(self):
        return self


@needs_mnn
@pytest.mark.parametrize(("packages", "words"), [({}, "no MNN"), ({"MNN": "1.0"}, "MNN 1.0")])
def test_another_version_on_the_device_is_refused_with_the_command_for_it(packages, words):
    version = MnnCpu().version
    with in_force(Board(**packages)), pytest.raises(TrimfitError, match=f"got {words} on ssh://board") as caught:
        get(NAME)
    assert str(caught.value).endswith(f"pip install MNN=={version} there")
    with in_force(Board(MNN=version)):
        assert get(NAME).version == version


# conversion


@pytest.fixture
def converter(tmp_path):
    """converter(body): a shell script in the place of the interpreter that runs the converter."""

    def written(body):
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    return written


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            "echo 'These Op Not Support: Wish'; kill -ABRT $$",
            "it died of SIGABRT, and said: These Op Not Support: Wish",
        ),
        ("echo 'no licence' >&2; exit 3", "it ended with exit code 3, and said: no licence"),
        ("echo 'Convert error'; exit 0", "Convert error"),
        ("exit 0", "it said nothing"),
        ("touch model.mnn; echo 'Converted Success!'", "Converted Success!"),
    ],
)
def test_a_converter_that_makes_nothing_is_one_line_and_the_old_file_stays(model, tmp_path, converter, body, words):
    target = tmp_path / "made" / "model.mnn"
    target.parent.mkdir()
    target.write_bytes(b"old")
    with pytest.raises(TrimfitError) as caught:
        convert(model, target, python=converter(body))
    assert str(caught.value) == f"got {model}, expected an ONNX model that MNN's converter takes: {words}"
    assert target.read_bytes() == b"old"
    assert list(target.parent.iterdir()) == [target]


def test_what_is_no_onnx_file_never_reaches_the_converter(tmp_path, converter):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(TrimfitError, match="expected an ONNX model that MNN's converter takes: it cannot be read"):
        convert(broken, tmp_path / "x.mnn", python=converter(f"touch {tmp_path}/reached"))
    assert not (tmp_path / "reached").exists()


@needs_mnn
def test_an_operator_that_mnn_does_not_know_is_refused_by_name(tmp_path):
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2])
    result = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [2])
    node = onnx.helper.make_node("Wish", ["x"], ["y"], domain="fairy.tale")
    graph = onnx.helper.make_graph([node], "g", [value], [result])
    onnx.save(onnx.helper.make_model(graph, ir_version=8), tmp_path / "wish.onnx")
    with pytest.raises(TrimfitError, match=r"expected an ONNX model that MNN's converter takes: .*Wish") as caught:
        MnnCpu().prepare(tmp_path / "wish.onnx", "fp32", tmp_path / "x.onnx")
    assert "\n" not in str(caught.value)


@needs_mnn
def test_its_files_have_their_own_ending_and_stand_alone(model, tmp_path):
    folder = tmp_path / "made"
    folder.mkdir()
    made = MnnCpu().prepare(model, "fp32", folder / "prepared.onnx")
    assert made == folder / "prepared.mnn"
    assert list(folder.iterdir()) == [made]
    session = MnnCpu().session(made, 1)
    made.unlink()
    feed = random_inputs(Workload(seq_len=7))
    assert session.run(["logits"], feed)[0].shape == (1, 2)
    assert sorted(entry.name for entry in session.get_inputs()) == sorted(feed)


# what it computes


@needs_mnn
@pytest.mark.parametrize("precision", MnnCpu.precisions)
def test_one_session_answers_any_batch_and_length_with_padding_as_onnxruntime_does(model, tmp_path, precision):
    runtime = MnnCpu().at(precision)
    session = runtime.session(runtime.prepare(model, precision, tmp_path / "made.onnx"), 1)
    expected = OnnxRuntimeCpu().session(model, 1)
    allowed = runtime.logit_tolerance if precision == "fp32" else 0.05
    for batch, tokens, hidden in ((1, 7, 0), (3, 16, 5), (2, 65, 40), (1, 1, 0), (3, 16, 0), (1, 130, 1)):
        feed = padded(batch, tokens, hidden)
        reference = expected.run(None, feed)[0]
        scale = float(np.abs(reference).max())
        np.testing.assert_allclose(session.run(None, feed)[0], reference, atol=allowed * max(1.0, scale))


@needs_mnn
def test_padding_changes_no_answer(model):
    session = MnnCpu().session(model, 1)
    feed = padded(2, 12, 5)
    alone = {name: values[1:, :7] for name, values in feed.items()}
    np.testing.assert_allclose(session.run(None, feed)[0][1:], session.run(None, alone)[0], atol=1e-4)


@needs_mnn
def test_layers_of_many_zeros_become_sparse_and_answer_the_same(tmp_path):
    shape, feed = EncoderShape.uniform(64, 16, 2, 4, 256), padded(2, 20, 3)
    sizes = {}
    for zeros in (0.0, 0.5, 0.9):
        path = encoder_graph(shape, tmp_path / f"{zeros}.onnx", sparsity=zeros)
        made = MnnCpu().prepare(path, "fp32", tmp_path / f"{zeros}.mnn")
        sizes[zeros] = made.stat().st_size
        expected = OnnxRuntimeCpu().session(path, 1).run(None, feed)[0]
        np.testing.assert_allclose(MnnCpu().session(made, 1).run(None, feed)[0], expected, atol=MnnCpu.logit_tolerance)
    assert sizes[0.9] < 0.7 * sizes[0.0]
    assert sizes[0.5] > 0.95 * sizes[0.0]


@needs_mnn
def test_int8_weights_are_a_quarter_of_the_bytes(tmp_path):
    model = encoder_graph(EncoderShape.uniform(64, 16, 1, 4, 256), tmp_path / "model.onnx")
    fp32, int8 = (MnnCpu().prepare(model, precision, tmp_path / f"{precision}.onnx") for precision in ("fp32", "int8"))
    graph = onnx.load(model).graph
    products = {node.input[1] for node in graph.node if node.op_type in ("MatMul", "Gemm")}
    weights = sum(numpy_helper.to_array(t).nbytes for t in graph.initializer if t.name in products)
    assert fp32.stat().st_size - int8.stat().st_size == pytest.approx(0.75 * weights, rel=0.15)


# how others load it


@needs_mnn
def test_the_worker_answers_as_a_session(model, tmp_path):
    runtime = MnnCpu().at("int8")
    made = runtime.prepare(model, "int8", tmp_path / "made.onnx")
    feed = padded(2, 9, 3)
    np.savez(tmp_path / "pool.npz", **{name: values[None] for name, values in feed.items()}, label=np.zeros(1))
    contestant = Contestant(
        name="a", model=made, runtime=runtime.name, options=runtime.options(), loader=runtime.loader()
    )
    with Launch(contestant, tmp_path / "pool.npz", seed=0) as launch:
        launch.ready()
        assert launch.ask("load", cpus=[])["load_seconds"] > 0
        launch.ask("outputs", path=str(tmp_path / "outputs.npz"))
    with np.load(tmp_path / "outputs.npz") as outputs:
        np.testing.assert_array_equal(outputs["output0"], runtime.session(made, 1).run(None, feed)[0])


@needs_mnn
def test_an_option_that_it_does_not_know_is_refused_by_the_loader(model, tmp_path):
    contestant = Contestant(name="a", model=model, runtime=NAME, options={"turbo": True}, loader=LOADER)
    np.savez(tmp_path / "pool.npz", **{name: values[None] for name, values in padded(1, 4, 0).items()})
    with Launch(contestant, tmp_path / "pool.npz", seed=0) as launch:
        launch.ready()
        with pytest.raises(TrimfitError, match="got runtime option 'turbo', expected memory"):
            launch.ask("load", cpus=[])


@needs_mnn
def test_a_rig_on_a_device_loads_it_too(model, tmp_path):
    made = MnnCpu().prepare(model, "fp32", tmp_path / "made.onnx")
    np.savez(tmp_path / "feed.npz", **padded(1, 5, 0))
    graph = {"model": str(made), "options": {}, "threads": 1, "feed": str(tmp_path / "feed.npz"), "cpus": []}
    opened = {"open": {"name": "a", "loader": str(LOADER), "remove": [], **graph}}
    commands = [opened, {"time": {"seconds": 2.0, "rounds": 3, "seed": 0, "cpus": []}}, {"end": {}}]
    _, _, timed, _ = worker.answers({"rig": {}}, map(worker.json.dumps, commands))
    assert len(timed["rounds"]["a"]) == 3


@needs_mnn
def test_a_form_says_its_precision_and_one_that_there_is_not_is_refused(model, tmp_path):
    form = form_of("mnn-cpu:int8")
    assert (form.name, form.options, form.loader) == ("mnn-cpu int8", {"memory": "low"}, LOADER)
    assert form.make(model, tmp_path / "x.onnx", []).suffix == ".mnn"
    with pytest.raises(TrimfitError, match="got --runtime mnn-cpu:bf16, expected mnn-cpu with one of fp32, int8"):
        form_of("mnn-cpu:bf16")
