"""A real aarch64 onnxruntime behind a connection, in an emulator: refused as a device, good for answers."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from benchmarks.benchmark import benchmark_files
from benchmarks.errors import TrimfitError
from benchmarks.workload import Workload
from hardware_profiles import EncoderShape, encoder_graph, get
from hardware_profiles.connections.local import LocalConnection
from hardware_profiles.places import inspect, open_place
from hardware_profiles.places.bundle import pack
from hardware_profiles.places.inspection import PYTHON_VARIABLE
from hardware_profiles.profile_cache import cache_folder
from hardware_profiles.runtimes.sparse.library import library_here

ROOT = Path(__file__).parents[3]
SHAPE = EncoderShape.uniform(16, 8, 2, 2, 32)
WORKLOAD = Workload(seq_len=8)


@pytest.fixture(scope="module")
def python() -> Path:
    """Debian's Python for aarch64 as a program of this machine; fetched once and kept."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        pytest.skip("aarch64 is emulated on x86-64 Linux")
    folder = cache_folder().with_name("aarch64")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    fetch = ["bash", ROOT / ".ci" / "aarch64", folder, importlib.metadata.version("onnxruntime")]
    try:
        subprocess.run(fetch, check=True, capture_output=True, text=True, env=environment, timeout=300)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"the emulator or its wheels cannot be fetched: {error}")
    root, program = folder / "root", folder / "python3"
    inside = f"-E PYTHONPATH={root}/site -E PYTHONHOME={root}/usr -E PYTHONDONTWRITEBYTECODE=1"
    program.write_text(
        f"#!/bin/sh\nexec {folder}/qemu-aarch64 -L {root} -cpu ${{CORE:-cortex-a76}} {inside}"
        f' {root}/usr/bin/python3.11 "$@"\n'
    )
    program.chmod(0o755)
    return program


@pytest.fixture
def emulator(python, monkeypatch):
    monkeypatch.setenv(PYTHON_VARIABLE, str(python))
    with LocalConnection("ssh://emulated") as connection:
        yield connection


NO_MIDR = r"got ssh://emulated, which is an aarch64 machine without MIDR .*emulator"


def test_an_emulator_is_no_device(emulator):
    with pytest.raises(TrimfitError, match=NO_MIDR), open_place(emulator, emulated=False):
        pass


def test_models_made_for_aarch64_answer_there_as_here_and_no_time_is_kept(emulator, tmp_path):
    fp32 = encoder_graph(SHAPE, tmp_path / "fp32.onnx", activation="gelu", pattern="unstructured", sparsity=0.9, seed=0)
    with open_place(emulator, emulated=True) as place:
        assert (place.machine, place.device.provenance) == ("aarch64", "emulated_functional")
        assert "asimd" in place.device.isa
        stock, sparse = get("onnxruntime-cpu"), get("onnxruntime-cpu+sparse")
        models = [
            fp32,
            stock.prepare(fp32, "int8", tmp_path / "int8.onnx"),
            sparse.prepare(fp32, "fp32", tmp_path / "sparse.onnx"),
        ]
        here = {"custom_op_library": str(library_here())}
        result = benchmark_files(models, WORKLOAD, options=sparse.options(), options_here=here)
    assert not any(len(m.samples) for m in result.measurements)
    assert set(result.answers) == {"fp32", "int8", "sparse"}
    assert result.answers["fp32"] < 1e-5
    assert result.answers["sparse"] < 1e-5
    assert result.answers["int8"] < 0.02


def test_a_bundle_is_found_where_it_was_unpacked_and_needs_nothing_of_the_device(python, monkeypatch, tmp_path):
    archive = pack(python.parent / "root", tmp_path / "bundle.tgz")
    with tarfile.open(archive) as file:
        file.extractall(tmp_path / "home")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv(PYTHON_VARIABLE, raising=False)
    monkeypatch.setenv("TRIMFIT_PREFIX", f"{python.parent}/qemu-aarch64 -cpu cortex-a55")
    with LocalConnection("ssh://bundled") as connection:
        assert inspect(connection).python == str(tmp_path / "home" / ".trimfit" / "bin" / "python3")
        with open_place(connection, emulated=True) as place:
            assert place.machine == "aarch64"
            assert place.told["onnxruntime"] == importlib.metadata.version("onnxruntime")


def test_a_bundle_of_nothing_is_refused(tmp_path):
    with pytest.raises(TrimfitError, match=r"without python3.11"):
        pack(tmp_path, tmp_path / "bundle.tgz")
