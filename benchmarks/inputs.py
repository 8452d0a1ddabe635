"""Inputs to time a model with: a pool of rows, read from a file or made up to fit the model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import helper

from benchmarks.errors import TrimfitError
from benchmarks.onnx_file import load_graph
from benchmarks.workload import Workload

__all__ = ["ModelInput", "check_pool", "model_inputs", "pool_name", "random_pool"]

POOL = 16  # different rows: enough that no branch predictor learns one by heart
POOL_BYTES = 64e6  # of all rows together: large inputs get fewer
DEFAULT_IDS = 2  # made-up integers stay below this when the model does not tell its vocabulary
PASSES_ON = ("Cast", "Identity", "Unsqueeze", "Squeeze", "Reshape", "Flatten")
BATCH_WORDS = ("batch", "n")
LENGTH_WORDS = ("seq", "length", "len", "tokens")

Dimension = int | str


class ModelInput(NamedTuple):
    """A declared input: its numpy type, and sizes or names of its dimensions."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[Dimension, ...]


def model_inputs(model: Path) -> tuple[ModelInput, ...]:
    """What the model must be fed with (initializers listed as inputs left out).

    Raises:
        TrimfitError: the file is missing or not ONNX.
    """
    return graph_inputs(load_graph(model))


def graph_inputs(graph: onnx.GraphProto) -> tuple[ModelInput, ...]:
    """`model_inputs` of a graph that is loaded already."""
    weights = {tensor.name for tensor in graph.initializer}
    return tuple(_declared(value) for value in graph.input if value.name not in weights)


def _declared(value: onnx.ValueInfoProto) -> ModelInput:
    tensor = value.type.tensor_type
    shape = tuple(
        dim.dim_value if dim.HasField("dim_value") else dim.dim_param or f"{value.name}[{axis}]"
        for axis, dim in enumerate(tensor.shape.dim)
    )
    return ModelInput(value.name, helper.tensor_dtype_to_np_dtype(tensor.elem_type), shape)


def concrete_shape(declared: ModelInput, workload: Workload, dims: Mapping[str, int]) -> tuple[int, ...]:
    """The input's shape at the workload; `dims` gives the sizes of symbolic dimensions the workload does not.

    Raises:
        TrimfitError: a dimension is unknown, or fixed at another batch or length than is asked for.
    """
    _check_fixed(declared, workload)
    return tuple(_size(declared, axis, dim, workload, dims) for axis, dim in enumerate(declared.shape))


def _size(declared: ModelInput, axis: int, dim: Dimension, workload: Workload, dims: Mapping[str, int]) -> int:
    if isinstance(dim, int):
        return dim
    if dim in dims:
        return dims[dim]
    word = dim.lower()
    if any(part in word for part in LENGTH_WORDS):
        return workload.seq_len
    if word.startswith(BATCH_WORDS) or (axis == 0 and word == f"{declared.name.lower()}[0]"):
        return workload.batch
    raise TrimfitError(
        f"got input {declared.name!r} with a dimension {dim!r} of unknown size, "
        f"expected its size: give it with --dim {dim}=N"
    )


def _check_fixed(declared: ModelInput, workload: Workload) -> None:
    tokens = np.issubdtype(declared.dtype, np.integer) and len(declared.shape) == 2
    asked = {"batch": workload.batch, "seq-len": workload.seq_len if tokens else None}
    for dim, (option, size) in zip(declared.shape, asked.items(), strict=False):
        if isinstance(dim, int) and size is not None and dim != size:
            raise TrimfitError(
                f"got --{option} {size}, expected {dim}, at which input {declared.name!r} is fixed: "
                f"ask for --{option} {dim}"
            )


def random_pool(
    model: Path, workload: Workload, dims: Mapping[str, int] | None = None, *, seed: int = 0, rows: int = POOL
) -> dict[str, np.ndarray]:
    """A pool of made-up inputs, [rows, *shape] by input name (`pool_name`): masks 1, ids below the vocabulary.

    There are fewer rows than asked for where they would exceed 64 MB.

    Raises:
        TrimfitError: the file is not ONNX or a dimension of an input is unknown.
    """
    graph = load_graph(model)
    return {
        pool_name(name, point, workload): values
        for point, _ in workload.points()
        for name, values in _random_rows(graph, point, dims or {}, seed, rows).items()
    }


def pool_name(name: str, point: Workload, workload: Workload) -> str:
    """What an input is called in a pool: its name, after its length where the workload has several: "9/input_ids"."""
    return name if workload.lengths is None else f"{point.seq_len}/{name}"


def _random_rows(
    graph: onnx.GraphProto, workload: Workload, dims: Mapping[str, int], seed: int, rows: int
) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = {declared: concrete_shape(declared, workload, dims) for declared in graph_inputs(graph)}
    row_bytes = sum(declared.dtype.itemsize * math.prod(shape) for declared, shape in shapes.items())
    rows = max(1, min(rows, int(POOL_BYTES / max(row_bytes, 1))))
    return {
        declared.name: _values(declared, (rows, *shape), _vocabulary(graph, declared.name), rng)
        for declared, shape in shapes.items()
    }


def _values(declared: ModelInput, shape: tuple[int, ...], below: int, rng: np.random.Generator) -> np.ndarray:
    name = declared.name.lower()
    if np.issubdtype(declared.dtype, np.floating):
        return rng.standard_normal(shape).astype(declared.dtype)
    if "mask" in name or declared.dtype == np.bool_:
        return np.ones(shape, declared.dtype)
    if "type" in name:
        return np.zeros(shape, declared.dtype)
    if "position" in name:
        return np.broadcast_to(np.arange(shape[-1]), shape).astype(declared.dtype)
    return rng.integers(0, below, shape).astype(declared.dtype)


def _vocabulary(graph: onnx.GraphProto, name: str) -> int:
    """Rows of the table that the input indexes, where it indexes one."""
    rows = {tensor.name: tensor.dims[0] for tensor in graph.initializer if tensor.dims}
    names, found = {name}, []
    for node in graph.node:
        if node.op_type in PASSES_ON and node.input[0] in names:
            names.update(node.output)
        if node.op_type == "Gather" and node.input[1] in names and node.input[0] in rows:
            found.append(rows[node.input[0]])
    return min(found, default=DEFAULT_IDS)


def check_pool(model: Path, pool: Path, workload: Workload) -> None:
    """Check that an .npz holds [pool, batch, seq, ...] for every input of the model, at every length of the workload.

    Raises:
        TrimfitError: an input is missing or has other sizes than the workload.
    """
    try:
        with np.load(pool, allow_pickle=False) as arrays:
            shapes = {name: arrays[name].shape for name in arrays.files}
    except (OSError, ValueError) as error:
        raise TrimfitError(f"got inputs {pool}, expected an .npz file: {error}") from error
    for point, _ in workload.points():
        inputs = (entry._replace(name=pool_name(entry.name, point, workload)) for entry in model_inputs(model))
        for problem in _pool_problems(tuple(inputs), shapes, point):
            raise TrimfitError(f"got inputs {pool} {problem}")


def _pool_problems(
    inputs: tuple[ModelInput, ...], shapes: Mapping[str, tuple[int, ...]], workload: Workload
) -> Iterator[str]:
    for declared in inputs:
        if declared.name not in shapes:
            yield f"with {', '.join(shapes) or 'nothing'}, expected also {declared.name!r}: add such an array"
            continue
        shape, rank = shapes[declared.name], len(declared.shape)
        tokens = np.issubdtype(declared.dtype, np.integer) and rank == 2
        wanted = (workload.batch, workload.seq_len)[: 2 if tokens else min(rank, 1)]
        if len(shape) != rank + 1 or shape[1 : 1 + len(wanted)] != wanted:
            yield (
                f"whose {declared.name!r} has shape {shape}, expected [pool, {', '.join(map(str, wanted))}"
                f"{', ...' if rank > len(wanted) else ''}]: tokenise them for {workload}"
            )
