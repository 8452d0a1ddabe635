"""`--device cuda` on the command line: refused in one line without a GPU, and at work with this CPU in its place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.benchmark_result import BenchmarkResult
from benchmarks.errors import TrimfitError
from benchmarks.gpu.place import stand_in
from benchmarks.place import in_force
from hardware_profiles import EncoderShape, LatencyProfile, encoder_graph
from optimizer.cli import app


@pytest.fixture
def gpu() -> Iterator[None]:
    with in_force(stand_in()):
        yield


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return encoder_graph(EncoderShape.uniform(32, 8, 2, 4, 64), tmp_path / "model.onnx")


def trimfit(*arguments: object) -> str:
    done = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize("name", ["cuda", "cuda:3", "cuda:x"])
@pytest.mark.parametrize("command", ["profile", "advise", "benchmark"])
def test_without_a_gpu_every_command_says_so_in_one_line(
    command: str, name: str, model: Path, encoder_folder: Path
) -> None:
    asked = {"profile": [], "advise": ["--model", str(encoder_folder)], "benchmark": [str(model)]}[command]
    with pytest.raises(TrimfitError, match="got ") as caught:
        CliRunner().invoke(app, [command, *asked, "--device", name], catch_exceptions=False)
    assert "\n" not in str(caught.value)


def test_files_are_timed_on_the_gpu_with_its_peak_and_placement(gpu: None, model: Path) -> None:
    told = trimfit("benchmark", model, "--device", "cuda", "--batch", 2, "--seq-len", 8, "--json")
    result = BenchmarkResult.model_validate_json(told[told.index("{") :])
    (measurement,) = result.measurements
    assert measurement.subject.runtime == "onnxruntime-cuda"
    assert measurement.subject.workload.threads == 1
    assert measurement.device_median is not None
    assert measurement.nodes
    assert "this CPU in its place" in result.conditions
    assert result.peaks[0].precision == "fp32"
    assert "no GPU" in (result.energy[0].reason or "")


def test_a_gpu_is_profiled_with_its_own_runtime_and_the_profile_can_be_advised_from(
    gpu: None, encoder_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIMFIT_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "profile.json"
    asked = ("--model", encoder_folder, "--batch", 2, "--seq-len", 8)
    trimfit("profile", "--device", "cuda", *asked, "--fast", "--out", out, "--html", tmp_path / "profile.html")
    assert "this CPU in its place" in (tmp_path / "profile.html").read_text(encoding="utf-8")
    profile = LatencyProfile.load(out)
    assert (profile.runtime_record.name, profile.precisions) == ("onnxruntime-cuda", ("fp32", "fp16"))
    assert profile.device.gpu is not None
    trimfit("advise", "--device", out, *asked, "--json", tmp_path / "advice.json")
    advice = json.loads((tmp_path / "advice.json").read_text())
    assert advice["device"]["provenance"] == "measured_proxy"
    assert {way["way"]["runtime"] for way in advice["ways"]} == {"onnxruntime-cuda"}


def test_a_runtime_of_cpus_is_refused_on_a_gpu(gpu: None) -> None:
    with pytest.raises(TrimfitError, match=r"got runtime 'onnxruntime-cpu', .*: leave --device cuda out"):
        CliRunner().invoke(app, ["profile", "--device", "cuda", "--runtime", "onnxruntime-cpu"], catch_exceptions=False)
