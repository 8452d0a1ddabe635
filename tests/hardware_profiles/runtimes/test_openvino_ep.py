"""OpenVINO's plug-in as a runtime: why it is refused, and what it is told where it works (here: a pretended one)."""

from __future__ import annotations

import json
import sys
from collections import Counter
from types import SimpleNamespace

import onnx
import onnxruntime
import pytest

from benchmarks.errors import TrimfitError
from benchmarks.workload import Workload
from hardware_profiles import EncoderShape, encoder_graph, get, random_inputs, runtimes
from hardware_profiles.runtimes import OpenVinoEp, openvino_ep, refused

EP = "OpenVINOExecutionProvider"


@pytest.fixture
def pretend(monkeypatch):
    """pretend("CPU", "GPU"): the plug-in is installed and offers these devices."""

    def installed(*kinds):
        plugin = SimpleNamespace(get_ep_name=lambda: EP, get_library_path=lambda: "/plugin/lib.so")
        devices = [SimpleNamespace(ep_name=EP, device=SimpleNamespace(type=SimpleNamespace(name=k))) for k in kinds]
        monkeypatch.setitem(sys.modules, openvino_ep.PACKAGE, plugin)
        monkeypatch.setattr(openvino_ep, "version", lambda distribution: "9.9")
        monkeypatch.setattr(openvino_ep, "_register", lambda name, library: None)
        monkeypatch.setattr(onnxruntime, "get_ep_devices", lambda: devices)

    return installed


def config(runtime):
    return json.loads(runtime.options()["ep"]["options"]["load_config"])["CPU"]


def test_without_the_plugin_the_pip_command_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, openvino_ep.PACKAGE, None)
    with pytest.raises(TrimfitError, match=r"expected it for openvino-ep: pip install onnxruntime-ep-openvino$"):
        get("openvino-ep")
    assert "openvino-ep" not in [runtime.name for runtime in runtimes()]
    assert refused()["openvino-ep"].endswith(": pip install onnxruntime-ep-openvino")


@pytest.mark.parametrize(("kinds", "words"), [((), "got no device from"), (("GPU", "NPU"), "got GPU, NPU from")])
def test_a_plugin_that_offers_no_cpu_is_refused_with_what_it_offers(pretend, kinds, words):
    pretend(*kinds)
    with pytest.raises(TrimfitError, match=words):
        get("openvino-ep")
    assert "openvino-ep" not in [runtime.name for runtime in runtimes()]


def test_a_plugin_that_offers_the_cpu_is_a_runtime_like_others(pretend):
    pretend("GPU", "CPU")
    assert [runtime.name for runtime in runtimes()][-1] == "openvino-ep"
    assert get("openvino-ep").version == f"{onnxruntime.__version__}+9.9"


def test_bf16_is_a_precision_where_the_cpu_multiplies_it(pretend, monkeypatch):
    pretend("CPU")
    for flags, precisions in (("avx512f",), ("fp32", "int8")), (("amx_bf16",), ("fp32", "bf16", "int8")):
        monkeypatch.setattr(openvino_ep, "instruction_sets", lambda flags=flags: flags)
        assert OpenVinoEp().precisions == precisions


def test_the_precision_of_a_model_is_hinted(pretend):
    pretend("CPU")
    hints = {p: config(OpenVinoEp().at(p))["INFERENCE_PRECISION_HINT"] for p in ("fp32", "bf16", "int8")}
    assert hints == {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
    assert config(OpenVinoEp().at("bf16").at("fp32")) == config(OpenVinoEp())


def test_options_name_the_plugin_and_come_back_without_its_place(pretend):
    pretend("CPU")
    runtime = OpenVinoEp().at("bf16")
    assert runtime.options()["ep"]["library"] == "/plugin/lib.so"
    assert config(runtime)["INFERENCE_NUM_THREADS"] == "{threads}"
    elsewhere = json.loads(json.dumps(runtime.options()).replace("/plugin/lib.so", "/elsewhere/lib.so"))
    assert OpenVinoEp().with_options(elsewhere) == runtime
    assert runtime.with_options({}) == OpenVinoEp()


def test_int8_is_static_and_other_precisions_are_the_file_itself(pretend, tmp_path, monkeypatch):
    pretend("CPU")
    monkeypatch.setattr(openvino_ep, "instruction_sets", lambda: ("avx512_bf16",))
    model = encoder_graph(EncoderShape.uniform(32, 8, 1, 4, 64), tmp_path / "m.onnx")
    assert [OpenVinoEp().prepare(model, p, tmp_path / "x.onnx") for p in ("fp32", "bf16")] == [model, model]
    rows = [random_inputs(Workload(seq_len=7))]
    made = OpenVinoEp().prepare(model, "int8", tmp_path / "int8.onnx", rows)
    kinds = Counter(node.op_type for node in onnx.load(made).graph.node)
    assert kinds["QuantizeLinear"] == 4
    assert not kinds["DynamicQuantizeLinear"]
    with pytest.raises(TrimfitError, match="got precision 'int8-static', expected one of fp32, bf16, int8"):
        OpenVinoEp().prepare(model, "int8-static", tmp_path / "x.onnx", rows)
