"""The aarch64 library computes what this machine's does, in emulated processors with and without dot products."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from mutations import encoder_half
from one_operator import Operator, linear, linear_int8, session, sparse_weights, tiled

from hardware_profiles.profile_cache import cache_folder
from hardware_profiles.runtimes.sparse.library import library_path

HERE = Path(__file__).parent
ROOT = HERE.parents[3]
PROCESSORS = [("cortex-a53", None), ("cortex-a76", None), ("cortex-a76", "neon")]  # a53: no dot product


@pytest.fixture(scope="module")
def emulator() -> Path:
    """Folder of the emulator and the aarch64 wheels; fetched once and kept."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        pytest.skip("aarch64 is emulated on x86-64 Linux")
    folder = cache_folder().with_name("aarch64")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    fetch = ["bash", ROOT / ".ci" / "aarch64", folder, importlib.metadata.version("onnxruntime")]
    try:
        subprocess.run(fetch, check=True, capture_output=True, text=True, env=environment, timeout=300)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"the emulator or its wheels cannot be fetched: {error.stderr.strip().splitlines()[-1:]}")
    except subprocess.TimeoutExpired:
        pytest.skip("the emulator or its wheels cannot be fetched within 5 minutes")
    return folder


def layers(rng: np.random.Generator) -> dict[str, tuple[onnx.ModelProto, dict[str, np.ndarray]]]:
    """Models with inputs: both precisions, both layouts, edges of every loop, and a chain of all operators."""
    made = {}
    for index, (rows, columns, tokens) in enumerate([(1, 1, 1), (37, 53, 19), (96, 130, 65), (300, 384, 128)]):
        weights, bias = sparse_weights(rng, rows, columns, 0.8), rng.standard_normal(rows).astype(np.float32)
        integers = np.where(weights != 0, rng.integers(-127, 128, weights.shape), 0).astype(np.int8)
        x = rng.standard_normal((2, tokens, columns)).astype(np.float32)
        for activation in ("none", "gelu", "relu"):
            made[f"fp32-{index}-{activation}"] = linear(weights, bias, activation, block=48, chunk=40).model(), {"X": x}
            made[f"int8-{index}-{activation}"] = linear_int8(integers, bias, activation).model(), {"X": x}
        for layout in ("rows", "tiles"):
            operator = linear(weights, bias, input_layout=layout, output_layout="tiles")
            made[f"{layout}-{index}"] = operator.model(), {"X": tiled(x) if layout == "tiles" else x}
    made["chain"] = encoder_half(rng), {"X": rng.standard_normal((1, 5, 22)).astype(np.float32)}
    return made


def emulated(emulator: Path, processor: str, isa: str | None, folder: Path) -> Path:
    """Run the models of a folder; returns the folder of their answers."""
    root, out = emulator / "root", folder / f"{processor}-{isa}"
    out.mkdir()
    inside = {
        "PYTHONPATH": root / "site",
        "PYTHONHOME": root / "usr",
        "PYTHONDONTWRITEBYTECODE": "1",
        **({"TRIMFIT_ISA": isa} if isa else {}),
    }
    settings = [part for name, value in inside.items() for part in ("-E", f"{name}={value}")]
    qemu = ["nice", "-n", "19", emulator / "qemu-aarch64", "-L", root, "-cpu", processor, *settings]
    worker = [root / "usr/bin/python3.11", HERE / "emulated_worker.py", library_path("aarch64", "Linux"), folder, out]
    done = subprocess.run([*qemu, *worker], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return out


@pytest.mark.parametrize(("processor", "isa"), PROCESSORS)
def test_aarch64_computes_the_same(emulator: Path, tmp_path: Path, processor: str, isa: str | None) -> None:
    models = layers(np.random.default_rng(0))
    for name, (model, feed) in models.items():
        onnx.save(model, tmp_path / f"{name}.onnx")
        np.savez(tmp_path / f"{name}.npz", **feed)
    out = emulated(emulator, processor, isa, tmp_path)
    for name, (model, feed) in models.items():
        expected = session(model).run(None, feed)[0]
        answer = np.load(out / f"{name}.npy")
        np.testing.assert_allclose(answer, expected, rtol=1e-5, atol=1e-5, err_msg=name)


def test_aarch64_refuses_the_same(emulator: Path, tmp_path: Path) -> None:
    good = linear(np.ones((2, 3), np.float32), np.zeros(2, np.float32))
    bad = {**good.constants, "columns": np.array([0, 1, 9, 0, 1, 2], np.uint16)}
    onnx.save(Operator(good.op_type, bad, good.attributes).model(), tmp_path / "bad.onnx")
    out = emulated(emulator, "cortex-a76", None, tmp_path)
    assert "trimfit SparseLinear: got column 9" in (out / "bad.txt").read_text()
