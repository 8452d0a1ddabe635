"""The main job against a device behind a connection: profiled, proved and described there, compressed here."""

import sys
from pathlib import Path

import pytest

import optimizer
from benchmarks import Measurement
from benchmarks.place import current_place
from hardware_profiles import bench, local_device
from hardware_profiles.connections.local import LocalConnection
from hardware_profiles.places.inspection import PYTHON_VARIABLE
from hardware_profiles.places.remote_rig import RemoteRig
from optimizer.effort import Effort
from optimizer.progress import Silent

NAME = "ssh://loopback"


def test_the_whole_job_over_a_connection(
    encoder: Path, data: Path, tmp_path: Path, tiny_effort: Effort, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With profile and timing cut short."""
    said: list[str] = []
    graphs: list[str] = []
    load = RemoteRig.load
    monkeypatch.setattr(RemoteRig, "load", lambda rig, name, graph: (graphs.append(name), load(rig, name, graph)))
    monkeypatch.setattr(Silent, "say", lambda progress, text: said.append(text))
    monkeypatch.setattr("hardware_profiles.places.reaching.connect", LocalConnection)
    monkeypatch.setenv(PYTHON_VARIABLE, sys.executable)
    monkeypatch.setenv("TRIMFIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(bench._SECONDS_PER_GRAPH, "fast", 0.02)
    monkeypatch.setitem(bench._ROUNDS, "fast", 6)
    monkeypatch.setattr("benchmarks.budget.SECONDS_EACH", 2.0)
    monkeypatch.setattr("benchmarks.sampling.MOST_LAUNCHES_ELSEWHERE", 0.5)
    out = tmp_path / "out"
    deployment = optimizer.optimize(
        encoder,
        data,
        out,
        device=NAME,
        target=optimizer.Speedup(1.5),
        seq_len=32,
        threads=1,
        effort=tiny_effort,
        progress=Silent(),
    )
    manifest = deployment.manifest
    assert current_place().is_here
    assert "reference" in graphs, "it was profiled there"
    assert manifest.device.provenance == "measured_device"
    assert manifest.device.fingerprint == local_device().fingerprint
    assert manifest.parity.device_relative_difference is not None
    assert manifest.parity.device_relative_difference < 1e-3
    student = Measurement.from_json(out / "measurements" / "student.json")
    assert set(student.environment.packages) == {"onnxruntime", "numpy"}, "as the device said"
    assert manifest.student.latency_ms.median == pytest.approx(student.median_ms)
    assert any("answers there within" in text for text in said)
