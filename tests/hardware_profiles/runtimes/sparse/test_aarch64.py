"""The aarch64 library computes what this machine's does, in emulated processors with and without dot products."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from mutations import encoder_half
from one_operator import Operator, linear, linear_int8, session, sparse_weights, tiled

from benchmarks.suites.emulated.machine import EmulatedMachine
from hardware_profiles.runtimes.sparse.library import library_path

LIBRARY = ("aarch64", "Linux")
PROCESSORS = [  # the first has no dot product
    ("cortex-a53", {}),
    ("cortex-a55", {}),
    ("cortex-a76", {}),
    ("neoverse-n2", {}),
    ("cortex-a76", {"TRIMFIT_ISA": "neon"}),
]


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


@pytest.mark.parametrize(("processor", "environment"), PROCESSORS)
def test_aarch64_computes_the_same(
    emulated_machine: EmulatedMachine, tmp_path: Path, processor: str, environment: dict[str, str]
) -> None:
    models = layers(np.random.default_rng(0))
    for name, (model, feed) in models.items():
        onnx.save(model, tmp_path / f"{name}.onnx")
        np.savez(tmp_path / f"{name}.npz", **feed)
    out = emulated_machine.answer(
        processor, tmp_path, tmp_path / "out", library_path(*LIBRARY), environment=environment
    )
    for name, (model, feed) in models.items():
        expected = session(model).run(None, feed)[0]
        with np.load(out / f"{name}.npz") as answers:
            np.testing.assert_allclose(answers["Y"], expected, rtol=1e-5, atol=1e-5, err_msg=name)


def test_aarch64_refuses_the_same(emulated_machine: EmulatedMachine, tmp_path: Path) -> None:
    good = linear(np.ones((2, 3), np.float32), np.zeros(2, np.float32))
    bad = {**good.constants, "columns": np.array([0, 1, 9, 0, 1, 2], np.uint16)}
    onnx.save(Operator(good.op_type, bad, good.attributes).model(), tmp_path / "bad.onnx")
    out = emulated_machine.answer("cortex-a76", tmp_path, tmp_path / "out", library_path(*LIBRARY))
    assert "trimfit SparseLinear: got column 9" in (out / "bad.txt").read_text()
