"""What is read from a file without running it."""

import gzip

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiny_onnx import write_embedding, write_mlp

from benchmarks import Workload
from benchmarks.model_file import count_flops, read_model_file
from benchmarks.onnx_file import file_bytes, file_parts, file_sha256

WORK = Workload(batch=2, seq_len=6)


def graph(tmp_path, nodes, x_shape, weights, y_shape, opsets=()):
    values = [helper.make_tensor_value_info("x", TensorProto.FLOAT, x_shape)]
    result = [helper.make_tensor_value_info("y", TensorProto.FLOAT, y_shape)]
    tensors = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "g", values, result, tensors),
        opset_imports=[helper.make_opsetid("", 17), *opsets],
        ir_version=8,
    )
    onnx.save(model, str(tmp_path / "g.onnx"))
    return tmp_path / "g.onnx"


def test_a_products_operations_are_two_a_multiply_add(mlp):
    assert read_model_file(mlp, "mlp", WORK).flops == 2 * (2 * 6 * 8 * 8) * 2


def test_parameters_are_the_stored_weights(mlp, embedding):
    assert read_model_file(mlp, "mlp", WORK).parameters == 2 * 64
    assert read_model_file(embedding, "embedding", WORK).parameters == 5 * 8


def test_a_model_without_products_has_no_operation_count(embedding):
    assert read_model_file(embedding, "embedding", WORK).flops is None


def test_a_transposed_gemm_sums_over_its_first_dimension(tmp_path):
    node = helper.make_node("Gemm", ["x", "w"], ["y"], transA=1, transB=1)
    path = graph(tmp_path, [node], [3, 5], {"w": np.ones((7, 3), np.float32)}, [5, 7])
    assert count_flops(path, {"x": (3, 5)}) == 2 * 5 * 7 * 3


def test_a_convolution_sums_over_its_kernel(tmp_path):
    node = helper.make_node("Conv", ["x", "w"], ["y"], group=2)
    path = graph(tmp_path, [node], ["batch", 4, 8, 8], {"w": np.ones((6, 2, 3, 3), np.float32)}, ["batch", 6, 6, 6])
    assert count_flops(path, {"x": (1, 4, 8, 8)}) == 2 * (6 * 6 * 6) * (2 * 3 * 3)


def test_a_foreign_operator_may_hide_products_so_they_are_unknown(tmp_path):
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Mystery", ["h"], ["y"], domain="elsewhere"),
    ]
    weights = {"w": np.ones((8, 8), np.float32)}
    path = graph(tmp_path, nodes, [2, 8], weights, [2, 8], [helper.make_opsetid("elsewhere", 1)])
    assert count_flops(path, {"x": (2, 8)}) is None


def test_integer_products_make_an_int8_model(tmp_path):
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
        helper.make_node("MatMulInteger", ["q", "w", "zero"], ["i"]),
        helper.make_node("Cast", ["i"], ["y"], to=TensorProto.FLOAT),
    ]
    path = graph(tmp_path, nodes, ["batch", 8], {"w": np.ones((8, 4), np.int8)}, ["batch", 4])
    file = read_model_file(path, "q", WORK)
    assert (file.precision, file.flops) == ("int8", 2 * 2 * 4 * 8)


def test_the_size_after_gzip_is_gzips(mlp):
    size = len(gzip.compress(mlp.read_bytes(), 6))
    assert read_model_file(mlp, "mlp", WORK).gzip_bytes == pytest.approx(size, abs=2)


def test_external_data_belongs_to_the_file(tmp_path):
    inline = write_mlp(tmp_path / "inline.onnx", layers=20)
    path = tmp_path / "model.onnx"
    onnx.save(
        onnx.load(str(inline)),
        str(path),
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    before = file_sha256(path)
    assert file_parts(path) == (path, tmp_path / "weights.bin")
    assert file_bytes(path) == path.stat().st_size + (tmp_path / "weights.bin").stat().st_size
    (tmp_path / "weights.bin").write_bytes(bytes(20 * 256))
    assert file_sha256(path) != before


def test_the_hash_of_an_embedding_is_its_files(tmp_path):
    first, second = write_embedding(tmp_path / "a.onnx"), write_embedding(tmp_path / "b.onnx")
    assert file_sha256(first) == file_sha256(second)
    assert file_sha256(first) != file_sha256(write_embedding(tmp_path / "c.onnx", vocabulary=6))
