"""Loads and runs damaged models one after another, in a process of its own, which a crash would end.

`python mutations.py LIBRARY KIND FIRST LAST` writes the number of each mutation before it is tried, then its outcome.
A mutated tensor must be refused exactly where it breaks a rule of the format, and else compute what it says.
"""

from __future__ import annotations

import resource
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from one_operator import (
    FLOATS,
    INTEGERS,
    Operator,
    expected_int8,
    expected_linear,
    graph_of,
    linear,
    linear_int8,
    session,
    sparse_weights,
)
from onnx import helper

ROWS, COLUMNS, TOKENS = 12, 22, 5
MEMORY = 8 << 30  # bytes of address space: an absurd size must fail here, not take the machine's memory
ABSURD = (-(2**63), -(2**31), -1, 0, 1, 3, 65535, 65536, 65537, 2**31, 2**62, 2**63 - 1)
TYPES = {"values": "f4", "columns": "u2", "counts": "i4", "scales": "f4", "bias": "f4"}
INT8_TYPES = {**TYPES, "values": "i1"}


def layer(rng: np.random.Generator) -> Operator:
    """A small layer, fp32 or int8."""
    weights = sparse_weights(rng, ROWS, COLUMNS, 0.7)
    bias = rng.standard_normal(ROWS).astype(np.float32)
    if rng.integers(2):
        return linear(weights, bias)
    return linear_int8(np.where(weights != 0, rng.integers(-127, 128, weights.shape), 0).astype(np.int8), bias)


# -- what may be wrong ------------------------------------------------------------------------------------------


def with_other_constants(operator: Operator, rng: np.random.Generator) -> Operator:
    """One of the packed arrays is another."""
    constants = {name: value.copy() for name, value in operator.constants.items()}
    name = str(rng.choice(list(constants)))
    value = constants[name]
    kind = rng.choice(["element", "element", "length", "type", "rank", "swap"])
    if kind == "element":
        _change_elements(value.reshape(-1), rng)
    elif kind == "length":
        constants[name] = np.resize(value, (int(rng.integers(0, 2 * len(value) + 2)), *value.shape[1:]))
    elif kind == "type":
        constants[name] = value.astype(rng.choice(["f4", "f8", "i1", "u1", "i4", "u2", "i8"]))
    elif kind == "rank":
        constants[name] = value[None] if rng.integers(2) else value.ravel()[: value.size // 2 * 2].reshape(2, -1)
    else:
        constants["counts"] = rng.permutation(constants["counts"])
    return replace(operator, constants=constants)


def _change_elements(flat: np.ndarray, rng: np.random.Generator) -> None:
    for place in rng.integers(flat.size, size=rng.integers(1, 4)):
        if flat.dtype.kind == "f":
            flat[place] = rng.choice([np.nan, np.inf, 0, -0.0, 1e30, 1e-45])
        else:
            limits = np.iinfo(flat.dtype)
            near = int(np.clip(int(flat[place]) + rng.integers(-3, 4), limits.min, limits.max))
            flat[place] = rng.choice([limits.min, limits.max, near, near])


def with_other_attributes(operator: Operator, rng: np.random.Generator) -> Operator:
    """An attribute is absurd, of another type, or missing."""
    attributes: dict[str, Any] = dict(operator.attributes)
    name = str(rng.choice(["in_features", "block", "chunk", "activation", "input_layout", "output_layout"]))
    kind = rng.integers(4)
    if kind == 0:
        attributes.pop(name, None)
    elif kind == 1:
        attributes[name] = float(rng.integers(9))
    elif name in ("in_features", "block", "chunk"):
        attributes[name] = int(rng.choice([*ABSURD, COLUMNS - 1, COLUMNS + 1, COLUMNS + 4]))
    else:
        attributes[name] = str(rng.choice(["", "rows", "tiles", "gelu", "x" * 1000]))
    return replace(operator, attributes=attributes)


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes are others, or missing, or more."""
    changed = bytearray(content)
    for _ in range(rng.integers(1, 6)):
        start = int(rng.integers(len(changed)))
        kind = rng.integers(12)
        if kind == 0:
            del changed[start : start + int(rng.integers(1, 9))]
        elif kind == 1:
            changed[start:start] = rng.bytes(int(rng.integers(1, 9)))
        elif kind % 2:
            changed[start] ^= 1 << int(rng.integers(8))
        else:
            changed[start] = int(rng.integers(256))
    return bytes(changed)


# -- what must come of it ---------------------------------------------------------------------------------------


def stored_weights(constants: dict[str, np.ndarray], is_int8: bool) -> np.ndarray | None:
    """The matrix [rows, columns or padded columns] that packed arrays mean; None where they break a rule."""
    types = INT8_TYPES if is_int8 else TYPES
    if any(value.dtype != types[name] or value.ndim != 1 for name, value in constants.items() if name != "values"):
        return None
    values, columns, counts = (constants[name] for name in ("values", "columns", "counts"))
    if values.dtype != types["values"] or values.shape != (len(columns), 4)[: 1 + is_int8]:
        return None
    lengths = {len(constants[name]) for name in ("bias", "counts", "scales") if name in constants}
    if len(lengths) > 1 or (counts < 0).any() or counts.sum(dtype=np.int64) != len(columns):
        return None
    rows = np.repeat(np.arange(len(counts)), counts)
    width = -(-COLUMNS // 4) if is_int8 else COLUMNS
    ascending = (np.diff(rows) > 0) | (np.diff(columns.astype(int)) > 0)
    if not ascending.all() or (columns >= width).any() or (is_int8 and (values == -128).any()):
        return None
    weights = np.zeros((len(counts), width, *values.shape[1:]), values.dtype)
    weights[rows, columns] = values
    return weights.reshape(len(counts), -1)[:, :COLUMNS]


def expected(operator: Operator, x: np.ndarray) -> np.ndarray | None:
    """What the packed arrays compute; None where they must be refused."""
    constants = dict(operator.constants)
    is_int8 = "scales" in constants
    weights = stored_weights(constants, is_int8)
    if weights is None:
        return None
    if not is_int8:
        return expected_linear(x, weights, constants["bias"])
    with np.errstate(all="ignore"):
        return expected_int8(x, weights, constants["bias"], scales=constants["scales"])


def attempt(model: onnx.ModelProto | bytes, feed: dict[str, np.ndarray], library: Path) -> np.ndarray | str:
    """Y, or how onnxruntime refused. Any other exception goes through."""
    try:
        return session(model, library=library).run(None, feed)[0]
    except Exception as error:  # onnxruntime raises its own classes, which it does not export
        if not type(error).__module__.startswith("onnxruntime") and not isinstance(error, ValueError):
            raise
        return (str(error).splitlines() or [type(error).__name__])[0]  # onnxruntime says nothing of some broken files


def try_tensor(number: int, library: Path) -> str:
    rng = np.random.default_rng(number)
    operator, x = layer(rng), rng.standard_normal((TOKENS, COLUMNS)).astype(np.float32)
    if rng.integers(4) == 0:
        result = attempt(with_other_attributes(operator, rng).model(), {"X": x}, library)
        return result if isinstance(result, str) else "runs"
    operator = with_other_constants(operator, rng)
    result, wanted = attempt(operator.model(), {"X": x}, library), expected(operator, x)
    if isinstance(result, str):
        assert wanted is None, f"refused without need: {result}"
        return result
    assert wanted is not None, "must be refused"
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(result, wanted.astype(np.float32), rtol=1e-3, atol=5e-2)
    return "runs"


def encoder_half(rng: np.random.Generator) -> onnx.ModelProto:
    """Every operator in a row: Tile, two sparse layers, attention, normalisation, Untile."""
    up, down = sparse_weights(rng, 2 * COLUMNS, COLUMNS, 0.7), sparse_weights(rng, COLUMNS, 2 * COLUMNS, 0.7)
    parts = [
        Operator("Tile", {}),
        linear(up, np.ones(len(up), np.float32), "gelu", input_layout="tiles", output_layout="tiles"),
        linear(down, np.ones(len(down), np.float32), input_layout="tiles", output_layout="tiles"),
        Operator("TiledAttention", {}, {"heads": 2, "scale": 0.1}),
        Operator("TiledAddLayerNormalization", {}, {"epsilon": 1e-5}),
        Operator("Untile", {}),
    ]
    wires = [["X"], ["a"], ["b"], ["c", "c", "c", "mask"], ["d", "c", "gamma", "beta"], ["e", "mask"]]
    nodes, constants = [], {"gamma": np.ones(COLUMNS, np.float32), "beta": np.zeros(COLUMNS, np.float32)}
    constants["mask"] = np.ones((1, TOKENS), np.int64)
    for part, inputs, output in zip(parts, wires, "abcdeY", strict=True):
        mine = {f"{output}_{name}": value for name, value in part.constants.items()}
        constants |= mine
        nodes.append(helper.make_node(part.op_type, [*inputs, *mine], [output], domain="trimfit", **part.attributes))
    return graph_of(nodes, constants, (("X", FLOATS),))


def try_file(number: int, library: Path) -> str:
    rng = np.random.default_rng(number)
    model = encoder_half(rng) if rng.integers(2) else layer(rng).model()
    x = rng.standard_normal((1, TOKENS, COLUMNS)).astype(np.float32)
    result = attempt(damaged(model.SerializeToString(), rng), {"X": x}, library)
    return result if isinstance(result, str) else "runs"


TILED = {
    "Tile": (("X", FLOATS),),
    "Untile": (("X", FLOATS), ("mask", INTEGERS)),
    "TiledAddLayerNormalization": (("X", FLOATS), ("residual", FLOATS), ("gamma", FLOATS), ("beta", FLOATS)),
    "TiledAttention": (("Q", FLOATS), ("K", FLOATS), ("V", FLOATS), ("mask", INTEGERS)),
    "TiledSelfAttention": (("QKV", FLOATS), ("mask", INTEGERS)),
}


def try_shapes(number: int, library: Path) -> str:
    """Tiled operators with inputs whose shapes hardly ever belong together."""
    rng = np.random.default_rng(number)
    op_type = str(rng.choice(list(TILED)))
    attributes = {"heads": int(rng.choice([-1, 0, 1, 2, 3, 2**40])), "scale": 0.5, "epsilon": 1e-5}
    right = {"mask": (2, 17), "gamma": (4,), "beta": (4,)}
    feed = {}
    for name, kind in TILED[op_type]:
        shape = list(right.get(name, (2, 17, 4) if op_type == "Tile" else (2, 1, 4, 32)))
        if rng.integers(3) == 0:
            shape[rng.integers(len(shape))] = int(rng.choice([0, 1, 3, 16, 64, 80]))
        if rng.integers(8) == 0:
            shape = [int(size) for size in rng.integers(0, 5, rng.integers(0, 10))]
        feed[name] = np.ones(shape, np.int64 if kind == INTEGERS else np.float32)
    result = attempt(Operator(op_type, {}, attributes, TILED[op_type]).model(), feed, library)
    return result if isinstance(result, str) else "runs"


KINDS = {"tensor": try_tensor, "file": try_file, "shapes": try_shapes}


def main() -> None:
    library, kind, first, last = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for number in range(first, last):
        sys.stdout.write(f"{number} ")
        sys.stdout.flush()
        result = KINDS[kind](number, library)
        sys.stdout.write(f"{result}\n")


if __name__ == "__main__":
    main()
