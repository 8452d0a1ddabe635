"""Whatever a file holds, it is loaded or refused with a message; nothing crashes and nothing is undefined."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from one_operator import LIBRARY, Operator, linear, linear_int8, session, sparse_weights

from hardware_profiles.runtimes.sparse.library import library_path

HERE = Path(__file__).parent
MUTATIONS = 1000
needs_x86 = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="the sanitizer is built for x86-64"
)


def run_mutations(library: Path, kind: str, count: int) -> list[str]:
    """Outcomes of that many mutations, none of which may end the process."""
    command = [sys.executable, HERE / "mutations.py", library, kind, "0", str(count)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    outcomes = [line for line in done.stdout.splitlines() if line[:1].isdigit()]
    assert done.returncode == 0, f"mutation {outcomes[-1]}: exit code {done.returncode}\n{done.stderr[-3000:]}"
    assert len(outcomes) == count
    return [outcome.split(" ", 1)[1] for outcome in outcomes]


@pytest.mark.parametrize("kind", ["tensor", "file", "shapes"])
def test_mutated_models_run_or_are_refused(kind: str) -> None:
    outcomes = run_mutations(library_path(), kind, MUTATIONS)
    assert MUTATIONS / 20 < outcomes.count("runs") < MUTATIONS / 2  # both were really tried


@needs_x86
@pytest.mark.parametrize("kind", ["tensor", "file", "shapes"])
def test_mutated_models_do_nothing_undefined(kind: str, sanitized: Path) -> None:
    run_mutations(sanitized, kind, MUTATIONS)


@needs_x86
def test_the_operators_do_nothing_undefined(sanitized: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", HERE / "test_operators.py"]
    environment = {**os.environ, LIBRARY: str(sanitized)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


# -- messages ---------------------------------------------------------------------------------------------------


@pytest.fixture(params=["fp32", "int8"])
def layer(request: pytest.FixtureRequest) -> Operator:
    rng = np.random.default_rng(0)
    weights, bias = sparse_weights(rng, 6, 8, 0.5), np.zeros(6, np.float32)
    return linear(weights, bias) if request.param == "fp32" else linear_int8(weights.astype(np.int8), bias)


def refusal(operator: Operator) -> str:
    with pytest.raises(Exception, match=r".") as caught:
        operator.session()
    assert type(caught.value).__module__.startswith("onnxruntime")
    return str(caught.value)


def with_constant(operator: Operator, name: str, value: np.ndarray) -> Operator:
    return replace(operator, constants={**operator.constants, name: value})


def test_columns_out_of_range_are_refused(layer: Operator) -> None:
    columns = layer.constants["columns"].copy()
    columns[-1] = 8
    assert f"trimfit {layer.op_type}: got column 8" in refusal(with_constant(layer, "columns", columns))


def test_counts_that_do_not_sum_up_are_refused(layer: Operator) -> None:
    counts = layer.constants["counts"].copy()
    counts[2] = -1
    assert f"trimfit {layer.op_type}: got count -1" in refusal(with_constant(layer, "counts", counts))


def test_a_bias_of_another_length_is_refused(layer: Operator) -> None:
    assert "got bias of length 5" in refusal(with_constant(layer, "bias", np.zeros(5, np.float32)))


@pytest.mark.parametrize("name", ["values", "columns", "counts", "bias"])
def test_another_type_is_refused_by_name(layer: Operator, name: str) -> None:
    message = refusal(with_constant(layer, name, layer.constants[name].astype(np.float64)))
    assert f"of input parameter ({name}) of operator ({layer.op_type})" in message


@pytest.mark.parametrize("name", ["values", "columns", "counts", "bias"])
def test_weights_that_are_computed_are_refused(layer: Operator, name: str) -> None:
    model = layer.model()
    (moved,) = [tensor for tensor in model.graph.initializer if tensor.name == name]
    model.graph.initializer.remove(moved)
    given = model.graph.input.add()
    given.name = name
    given.type.tensor_type.elem_type = moved.data_type
    with pytest.raises(Exception, match=r"got a computed tensor as input \d, expected a constant initializer"):
        session(model)


def test_a_missing_in_features_is_refused(layer: Operator) -> None:
    assert "got in_features 0, expected 1 to 65536" in refusal(replace(layer, attributes={"activation": "none"}))


@pytest.mark.parametrize("in_features", [-1, 0, 65537, 2**18, 2**40])
def test_in_features_beyond_what_columns_can_name_is_refused(layer: Operator, in_features: int) -> None:
    attributes = {**layer.attributes, "in_features": in_features}
    assert f"got in_features {in_features}" in refusal(replace(layer, attributes=attributes))


@pytest.mark.parametrize("name", ["activation", "input_layout", "output_layout"])
def test_an_unknown_word_is_refused(layer: Operator, name: str) -> None:
    assert "expected" in refusal(replace(layer, attributes={**layer.attributes, name: "swish"}))


def test_an_input_of_another_width_is_refused_when_run(layer: Operator) -> None:
    with pytest.raises(Exception, match="got X with features 7, expected in_features"):
        layer(X=np.zeros((2, 7), np.float32))


@pytest.mark.parametrize("block", [0, 1, 2**62])
@pytest.mark.parametrize("chunk", [0, 1, 2**62])
def test_any_size_of_blocks_and_chunks_gives_the_same(layer: Operator, block: int, chunk: int) -> None:
    x = np.random.default_rng(1).standard_normal((3, 8)).astype(np.float32)
    other = replace(layer, attributes={**layer.attributes, "block": block, "chunk": chunk})
    np.testing.assert_allclose(other(X=x), layer(X=x), atol=1e-5)


def test_a_small_file_cannot_have_much_memory() -> None:
    """2 MB of empty rows, which by the smallest blocks and chunks would make 200 GB of segments."""
    rows = 200_000
    packed = {
        "values": np.zeros(0, np.float32),
        "columns": np.zeros(0, np.uint16),
        "counts": np.zeros(rows, np.int32),
        "bias": np.zeros(rows, np.float32),
    }
    operator = Operator("SparseLinear", packed, {"in_features": 65536, "block": 1, "chunk": 1})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    operator.session()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kilobytes


# -- a runtime that is too old ------------------------------------------------------------------------------------


Register = Callable[[Callable[[int], "int | None"]], "int | None"]


@pytest.fixture
def register() -> Register:
    """RegisterCustomOps with an OrtApiBase whose GetApi is a Python function."""
    entry = ctypes.CDLL(str(library_path())).RegisterCustomOps
    entry.argtypes, entry.restype = (ctypes.c_void_p, ctypes.c_void_p), ctypes.c_void_p

    def call(get_api: Callable[[int], int | None]) -> int | None:
        function = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_uint32)(get_api)
        base = (ctypes.c_void_p * 2)(ctypes.cast(function, ctypes.c_void_p), None)
        result: int | None = entry(None, ctypes.addressof(base))
        return result

    return call


def test_an_older_onnxruntime_is_told_which_is_needed(register: Register) -> None:
    said: list[bytes] = []

    def create_status(code: int, message: bytes) -> int:
        said.append(message)
        return 1234

    function = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p)(create_status)
    old_table = (ctypes.c_void_p * 272)(ctypes.cast(function, ctypes.c_void_p))
    assert register(lambda version: ctypes.addressof(old_table) if version <= 17 else None) == 1234
    assert said == [
        b"trimfit operators: got an onnxruntime older than 1.18, expected 1.18 or later: pip install -U onnxruntime"
    ]


def test_a_runtime_of_no_known_version_is_not_touched(register: Register) -> None:
    assert register(lambda version: None) is None
