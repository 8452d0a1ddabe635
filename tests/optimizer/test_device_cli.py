"""`trimfit device check`: exit code 0 with what is there, 2 with what is missing and how to install it."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from hardware_profiles.places import inspection
from optimizer.cli import app
from optimizer.manifest import DeviceFacts


@pytest.fixture(autouse=True)
def this_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(inspection.PYTHON_VARIABLE, sys.executable)


def test_a_device_with_all_is_ready() -> None:
    done = CliRunner().invoke(app, ["device", "check", "local"])
    assert done.exit_code == 0, done.output
    assert f"python: {sys.executable}" in done.output
    assert "ready: trimfit profile --device local" in done.output


def test_a_device_without_something_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "onnxruntime", SimpleNamespace(__version__="9.9"))
    done = CliRunner().invoke(app, ["device", "check", "local", "--json"])
    assert done.exit_code == 2
    told = json.loads(done.output)
    assert told["ready"] is False
    (missing,) = told["missing"]
    assert "expected 9.9" in missing
    assert missing.endswith("python3 -m venv ~/.trimfit && ~/.trimfit/bin/pip install numpy onnxruntime==9.9")


def test_what_is_emulated_has_no_place_in_a_manifest() -> None:
    with pytest.raises(ValidationError, match="emulated_functional has no latency"):
        DeviceFacts(name="board", fingerprint="0", provenance="emulated_functional")
