"""The main job for a GPU, this CPU in its place: with onnxruntime, and with PyTorch where that has no CUDA."""

import json
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto

import optimizer
from benchmarks import TrimfitError
from benchmarks.gpu.place import stand_in
from benchmarks.place import in_force
from hardware_profiles.runtimes import registry
from optimizer.effort import Effort
from optimizer.progress import Silent


@pytest.mark.parametrize("runtime", ["onnxruntime-cuda", "torch-cuda"])
def test_a_model_is_made_in_fp16_for_a_gpu(
    runtime: str,
    encoder: Path,
    data: Path,
    tmp_path: Path,
    cache: Path,
    tiny_effort: Effort,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TRIMFIT_CACHE", str(cache))
    kinds = tuple(kind for kind in registry._GPU_KINDS if kind.name.partition("+")[0] == runtime)
    monkeypatch.setattr(registry, "_GPU_KINDS", kinds)
    out = tmp_path / "out"
    with in_force(stand_in()):
        deployment = optimizer.optimize(
            encoder,
            data,
            out,
            device="cuda",
            target=optimizer.Speedup(1.5),
            batch=2,
            seq_len=16,
            precision="fp16",
            effort=tiny_effort,
            progress=Silent(),
        )
    manifest, decision = deployment.manifest, deployment.decision
    assert (manifest.student.runtime, manifest.student.precision) == (runtime, "fp16")
    assert manifest.workload.threads == 1
    assert manifest.device.provenance == "measured_proxy"
    assert manifest.speedup.versus == f"teacher fp32 {runtime}"
    assert manifest.speedup_versus_strongest_dense.versus.endswith(runtime)
    assert {candidate.precision for candidate in decision.candidates} == {"fp32", "fp16"}
    assert all("only fp16 was allowed" in c.refused for c in decision.candidates if c.precision == "fp32")
    assert not [c for c in decision.candidates if c.pattern == "n:m"], "what is a reference is never deployed"
    check_deployed_file(deployment.onnx)
    told = json.loads((out / "runtime.json").read_text(encoding="utf-8"))
    assert told["runtime"] == runtime
    measured = json.loads((out / "measurements" / "student.json").read_text(encoding="utf-8"))
    assert len(measured["samples"]["device_seconds"]) == len(measured["samples"]["seconds"])
    assert "this CPU in its place" in (out / "report.html").read_text(encoding="utf-8")
    run = subprocess.run(
        [sys.executable, out / "run.py", "fine"], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.stderr.strip() == "pip install 'onnxruntime-gpu[cuda,cudnn]': this model was measured on a GPU"


def check_deployed_file(path: Path) -> None:
    graph = onnx.load(path).graph
    halves = sum(tensor.data_type == TensorProto.FLOAT16 for tensor in graph.initializer)
    assert halves > sum(tensor.data_type == TensorProto.FLOAT for tensor in graph.initializer)


def test_without_a_gpu_the_job_is_refused_before_anything_is_read(data: Path, tmp_path: Path) -> None:
    with pytest.raises(TrimfitError, match=r"expected one for --device cuda|expected a GPU that works") as caught:
        optimizer.optimize(tmp_path / "nowhere", data, tmp_path / "out", device="cuda", progress=Silent())
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
