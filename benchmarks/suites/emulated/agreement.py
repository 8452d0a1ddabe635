"""How far the answers of an emulated processor are from this machine's: logits, and the integers behind them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx

from hardware_profiles.functional_record import QuantumAgreement

__all__ = ["distance", "quantum_agreement", "with_integers_shown"]

Arrays = Mapping[str, np.ndarray]


def with_integers_shown(model: Path, target: Path) -> Path:
    """Write the model with what every QuantizeLinear gives as a further output; what it computes stays the same."""
    loaded = onnx.load(model)
    for node in loaded.graph.node:
        if node.op_type == "QuantizeLinear":
            loaded.graph.output.append(onnx.ValueInfoProto(name=node.output[0]))
    onnx.save(loaded, target)
    return target


def quantum_agreement(expected: Arrays, got: Arrays, mask: np.ndarray) -> QuantumAgreement:
    """Compare quantised activations, integers [rows, tokens, features]: a difference of 1 is a quantum.

    Args:
        expected: outputs by name in the order in which they are computed; those that are no integers are passed over.
        got: the same of another machine.
        mask: [rows, tokens] 1 for a token, 0 for padding, of which nothing reaches the logits.

    Raises KeyError where one is missing in `got`, ValueError where none is an integer.
    """
    integers = [name for name, values in expected.items() if values.dtype in (np.int8, np.uint8)]
    if not integers:
        raise ValueError("got no int8 or uint8 outputs, expected those of with_integers_shown")
    apart = [np.abs(expected[name].astype(int) - got[name].astype(int))[mask == 1] for name in integers]
    largest = [int(each.max()) for each in apart]
    return QuantumAgreement(
        tensors=len(apart),
        values=sum(each.size for each in apart),
        differing=sum(int(np.count_nonzero(each)) for each in apart),
        first=next(filter(None, largest), 0),
        most=max(largest),
    )


def distance(expected: np.ndarray, got: np.ndarray) -> tuple[float, float]:
    """Largest absolute difference of two arrays, and the same over the largest absolute expected value.

    Raises ValueError for other shapes: broadcasting would hide a missing row.
    """
    if expected.shape != got.shape:
        raise ValueError(f"got answers of shape {got.shape}, expected {expected.shape}")
    largest = float(np.abs(got - expected).max())
    return largest, largest / float(np.abs(expected).max())
