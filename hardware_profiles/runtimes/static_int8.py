"""Static int8: linear layers whose activations are quantised with scales that real rows told beforehand."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from hardware_profiles.runtimes.runtime import Feeds

__all__ = ["linear_nodes", "quantize_linears"]


class _Rows(CalibrationDataReader):
    """Feeds as the calibration asks for them."""

    def __init__(self, feeds: Feeds) -> None:
        self._feeds: Iterator[Mapping[str, np.ndarray]] = iter(feeds)

    def get_next(self) -> Mapping[str, np.ndarray] | None:
        """The next feed, None after the last."""
        return next(self._feeds, None)


def linear_nodes(graph: onnx.GraphProto) -> list[str]:
    """Names of the MatMul nodes with a constant weight: an encoder's linear layers.

    Those of the head are Gemms, see one token each and decide everything: they stay as they are.
    """
    constant = {tensor.name for tensor in graph.initializer}
    return [node.name for node in graph.node if node.op_type == "MatMul" and node.input[1] in constant]


def quantize_linears(
    model: Path, target: Path, feeds: Feeds, *, nodes: Sequence[str], reduce_range: bool, signed: bool
) -> Path:
    """Write `model` with QuantizeLinear and DequantizeLinear around some of its linear layers (QDQ form).

    Args:
        model: with float activations; embeddings may be int8 already.
        target: file to write.
        feeds: rows of one call each. An activation's range goes from the mean of the rows' lowest values to the mean
            of their highest ones: a tenth nearer to fp32 than the extremes of all rows, and than percentiles (nats
            a row on SST-2 with MiniLM: 0.0025, 0.0028, and 0.0029 to 0.064 for 99.999 to 99.9 %).
        nodes: names of the MatMul nodes to quantise.
        reduce_range: weights of 7 bits instead of 8.
        signed: activations int8 around 0 instead of uint8.
    """
    if not nodes:  # an empty list would mean all
        return Path(shutil.copyfile(model, target))
    quantize_static(
        model,
        target,
        _Rows(feeds),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=["MatMul"],
        nodes_to_quantize=list(nodes),
        per_channel=True,
        reduce_range=reduce_range,
        activation_type=QuantType.QInt8 if signed else QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
        extra_options={
            "ActivationSymmetric": signed,
            "CalibMovingAverage": True,  # of a single batch of rows that is their mean
            "OpTypesToExcludeOutputQuantization": ["MatMul"],  # the next operator takes floats
        },
    )
    return target
