"""The ONNX node and the initializers that stand for one sparse linear layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from hardware_profiles.runtimes.sparse.linear_layers import LinearLayer
from hardware_profiles.runtimes.sparse.packing import (
    SparseBlocks,
    SparseRows,
    pack_blocks,
    pack_rows,
    share_of_zero_blocks,
    share_of_zeros,
)

__all__ = ["DOMAIN", "OPERATORS", "SparseOperator", "sparse_node"]

DOMAIN = "trimfit"
_MOST_IN_FEATURES = 1 << 16  # what 16 bits can name, and how many int8 products a sum of 32 bits can hold


class SparseOperator(NamedTuple):
    """How a precision packs a weight and which operator reads it.

    `share` is the share of what the operator skips. It cannot hold a weight of more than 65536 input features, nor one
    with NaN or infinity unless `any_number`.
    """

    name: str
    pack: Callable[[NDArray[np.float32]], SparseRows | SparseBlocks]
    share: Callable[[NDArray[np.float32]], float]
    any_number: bool

    def can_pack(self, weight: NDArray[np.float32]) -> bool:
        """Whether the operator can hold this weight [out, in]."""
        return weight.shape[1] <= _MOST_IN_FEATURES and (self.any_number or bool(np.isfinite(weight).all()))


OPERATORS = {
    "fp32": SparseOperator("SparseLinear", pack_rows, share_of_zeros, True),
    "int8": SparseOperator("SparseLinearInt8", pack_blocks, share_of_zero_blocks, False),
}


def sparse_node(layer: LinearLayer, operator: SparseOperator) -> tuple[onnx.NodeProto, list[onnx.TensorProto]]:
    """The node that computes `layer` and its initializers; the names of the packed weight depend on it alone."""
    packed = operator.pack(layer.weight)._asdict()
    in_features = packed.pop("in_features")
    tensors = [numpy_helper.from_array(np.ascontiguousarray(v), f"{layer.name}.{k}") for k, v in packed.items()]
    tensors.append(numpy_helper.from_array(np.ascontiguousarray(layer.bias), f"{layer.output}.bias"))
    node = helper.make_node(
        operator.name,
        [layer.input, *(tensor.name for tensor in tensors)],
        [layer.output],
        name=f"{layer.nodes[0].name or layer.output}/sparse",
        domain=DOMAIN,
        in_features=in_features,
        activation=layer.activation,
    )
    return node, tensors
