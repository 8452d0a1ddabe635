"""How answers of an emulated processor are compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchmarks.suites.emulated.agreement import distance, quantum_agreement, with_integers_shown
from hardware_profiles.runtimes import OnnxRuntimeCpu

EACH = np.array([[1, 1, 1]])  # no padding


def tokens(*values: int, kind: type = np.uint8) -> np.ndarray:
    """One row of tokens of one feature."""
    return np.array(values, kind).reshape(1, -1, 1)


def test_a_quantum_is_one_step_of_the_integers() -> None:
    equal, one, three = tokens(0, 7, 255), tokens(0, 8, 255), tokens(0, 7, 252)
    found = quantum_agreement({"a": equal, "b": equal, "c": equal}, {"a": equal, "b": one, "c": three}, EACH)
    assert found.model_dump() == {"tensors": 3, "values": 9, "differing": 2, "first": 1, "most": 3}
    same = quantum_agreement({"a": equal}, {"a": equal}, EACH)
    assert (same.differing, same.first, same.most) == (0, 0, 0)


def test_padding_does_not_count() -> None:
    found = quantum_agreement({"a": tokens(1, 2, 3)}, {"a": tokens(1, 2, 9)}, np.array([[1, 1, 0]]))
    assert (found.values, found.differing) == (2, 0)


@pytest.mark.parametrize(("low", "high", "kind"), [(0, 255, np.uint8), (-128, 127, np.int8)])
def test_integers_from_end_to_end_of_their_range_are_that_far_apart(low: int, high: int, kind: type) -> None:
    found = quantum_agreement({"a": tokens(low, kind=kind)}, {"a": tokens(high, kind=kind)}, np.array([[1]]))
    assert found.most == 255


def test_floats_have_no_quanta() -> None:
    with pytest.raises(ValueError, match="expected those of with_integers_shown"):
        quantum_agreement({"logits": np.ones((1, 3))}, {"logits": np.ones((1, 3))}, EACH)


def test_a_distance_is_absolute_and_of_the_largest_expected_value() -> None:
    assert distance(np.array([[1.0, -4.0]]), np.array([[1.5, -4.0]])) == (0.5, 0.125)
    with pytest.raises(ValueError, match=r"got answers of shape \(1, 2\), expected \(2, 2\)"):
        distance(np.ones((2, 2)), np.ones((1, 2)))


def test_shown_integers_are_those_that_the_model_computes_with(tmp_path: Path) -> None:
    scale = numpy_helper.from_array(np.float32(0.5), "scale")
    zero = numpy_helper.from_array(np.uint8(10), "zero")
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [3]) for name in "xy")
    graph = helper.make_graph(nodes, "round", [x], [y], [scale, zero])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "m.onnx")
    shown = OnnxRuntimeCpu().session(with_integers_shown(tmp_path / "m.onnx", tmp_path / "shown.onnx"), 1)
    y_values, q_values = shown.run(["y", "q"], {"x": np.array([-99, 0.6, 1.0], np.float32)})
    assert q_values.tolist() == [0, 11, 12]
    assert y_values.tolist() == [-5.0, 0.5, 1.0]
