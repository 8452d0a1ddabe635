"""Which layers of a graph become sparse, what they take in, and that the model computes the same."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from reference_operators import run

from benchmarks.errors import TrimfitError
from hardware_profiles.runtimes.sparse.rewriting import LinearShape, is_sparse, sparsify

ROOT_TWO = float(np.float32(np.sqrt(2)))
K, M = 8, 6


def always(shape, share):
    return True


def weight(*shape):
    """Half of it zeros."""
    random = np.random.default_rng(shape[0])
    return (random.standard_normal(shape) * (random.random(shape) < 0.5)).astype(np.float32)


BIAS = np.linspace(-1, 1, M, dtype=np.float32)


def model_of(nodes, outputs=("y",), ir_version=8, opset=18, **tensors):
    """x float32 [2, 3, 8] -> y; nodes are (operator, inputs, output, attributes)."""
    graph = helper.make_graph(
        [helper.make_node(op, inputs.split(), [output], **dict(*rest)) for op, inputs, output, *rest in nodes],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)


def operators(model):
    return Counter(node.op_type for node in model.graph.node)


def tensors_of(model):
    return {tensor.name for tensor in model.graph.initializer}


def check_same(model, sparse, atol=1e-5, shape=(2, 3, K)):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    for expected, got in zip(run(model, {"x": x}), run(sparse, {"x": x}), strict=True):
        np.testing.assert_allclose(got, expected, atol=atol)


MATMUL = ("MatMul", "x w", "p")
LINEARS = {
    "bare": [("MatMul", "x w", "y")],
    "bias after": [MATMUL, ("Add", "p b", "y")],
    "bias before": [MATMUL, ("Add", "b p", "y")],
    "one number as bias": [MATMUL, ("Add", "p one", "y")],
    "transposed": [("Transpose", "v", "w_", {"perm": [1, 0]}), ("MatMul", "x w_", "p"), ("Add", "b p", "y")],
    "behind Identity": [
        ("Identity", "w", "w_"),
        ("Identity", "b", "b_"),
        ("MatMul", "x w_", "p"),
        ("Add", "b_ p", "y"),
    ],
    "relu": [MATMUL, ("Add", "b p", "s"), ("Relu", "s", "y")],
}


@pytest.mark.parametrize("nodes", LINEARS.values(), ids=LINEARS)
def test_a_linear_layer_becomes_one_node_with_nothing_dense_left(nodes):
    model = model_of(nodes, w=weight(K, M), v=weight(M, K), b=BIAS, one=1.0)
    sparse = sparsify(model, "fp32", always)
    assert operators(sparse) == {"SparseLinear": 1}
    assert not {"w", "v", "b", "one"} & tensors_of(sparse)
    assert len(tensors_of(sparse)) == 4
    check_same(model, sparse)


@pytest.mark.parametrize("trans", [0, 1])
@pytest.mark.parametrize("bias", ["b", ""])
def test_gemm_is_a_linear_layer_too(trans, bias):
    w = weight(M, K) if trans else weight(K, M)
    model = model_of([("Gemm", f"x w {bias}", "y", {"transB": trans})], w=w, b=BIAS)
    sparse = sparsify(model, "fp32", always)
    assert operators(sparse) == {"SparseLinear": 1}
    check_same(model, sparse, shape=(5, K))


TO_ERF = {"divided": ("Div", "s root_two", "d"), "multiplied": ("Mul", "half_root s", "d")}
PRODUCTS = {
    "x (1 + erf) half": [("Mul", "s e1", "m"), ("Mul", "m half", "y")],
    "(1 + erf) x half": [("Mul", "e1 s", "m"), ("Mul", "half m", "y")],
    "half x (1 + erf)": [("Mul", "s half", "m"), ("Mul", "m e1", "y")],
    "half (1 + erf) x": [("Mul", "half e1", "m"), ("Mul", "s m", "y")],
}


@pytest.mark.parametrize("to_erf", TO_ERF.values(), ids=TO_ERF)
@pytest.mark.parametrize("product", PRODUCTS.values(), ids=PRODUCTS)
def test_gelu_is_taken_in_however_it_is_spelled(to_erf, product):
    gelu = [to_erf, ("Erf", "d", "e"), ("Add", "one e", "e1"), *product]
    constants = {"root_two": ROOT_TWO, "half_root": ROOT_TWO / 2, "one": 1.0, "half": 0.5}
    model = model_of([MATMUL, ("Add", "b p", "s"), *gelu], w=weight(K, M), b=BIAS, **constants)
    sparse = sparsify(model, "fp32", always)
    assert operators(sparse) == {"SparseLinear": 1}
    check_same(model, sparse)


def test_gelu_as_one_operator_is_taken_in_unless_it_is_the_tanh_one():
    for approximate, expected in (("none", {"SparseLinear": 1}), ("tanh", {"SparseLinear": 1, "Gelu": 1})):
        nodes = [("MatMul", "x w", "s"), ("Gelu", "s", "y", {"approximate": approximate})]
        model = model_of(nodes, opset=20, w=weight(K, M))
        sparse = sparsify(model, "fp32", always)
        assert operators(sparse) == expected
        check_same(model, sparse)


ALMOST_GELU = {
    "another factor": {"half": 0.25},
    "another root": {"root_two": 1.0},
    "another summand": {"one": 2.0},
}


@pytest.mark.parametrize("constants", ALMOST_GELU.values(), ids=ALMOST_GELU)
def test_what_only_looks_like_gelu_stays(constants):
    gelu = [("Div", "s root_two", "d"), ("Erf", "d", "e"), ("Add", "e one", "e1"), *PRODUCTS["x (1 + erf) half"]]
    numbers = {"root_two": ROOT_TWO, "one": 1.0, "half": 0.5, **constants}
    model = model_of([("MatMul", "x w", "s"), *gelu], w=weight(K, M), **numbers)
    sparse = sparsify(model, "fp32", always)
    assert operators(sparse) == operators(model) - Counter(MatMul=1) + Counter(SparseLinear=1)
    check_same(model, sparse)


def test_what_something_else_reads_is_kept():
    nodes = [MATMUL, ("Add", "p b", "s"), ("Relu", "s", "r"), ("Sub", "r p", "y")]
    model = model_of(nodes, w=weight(K, M), b=BIAS)
    sparse = sparsify(model, "fp32", always)
    assert operators(sparse) == {"SparseLinear": 1, "Add": 1, "Relu": 1, "Sub": 1}
    assert "b" in tensors_of(sparse)
    check_same(model, sparse)


def test_an_output_of_the_graph_is_kept():
    model = model_of([MATMUL, ("Add", "p b", "y")], outputs=("y", "p"), w=weight(K, M), b=BIAS)
    sparse = sparsify(model, "fp32", always)
    assert operators(sparse) == {"SparseLinear": 1, "Add": 1}
    check_same(model, sparse)


STAYS_DENSE = {
    "a product of two inputs": ([("MatMul", "x x", "y")], {}),
    "a constant from the left": ([("MatMul", "w x", "y")], {"w": weight(K, M)}),
    "a stack of matrices": ([("MatMul", "x w", "y")], {"w": weight(2, K, M)}),
    "a scaled Gemm": ([("Gemm", "x w", "y", {"alpha": 2.0})], {"w": weight(K, M)}),
    "a transposed input": ([("Gemm", "x w", "y", {"transA": 1})], {"w": weight(K, M)}),
    "a Gemm with a bias for each row": ([("Gemm", "x w b", "y")], {"w": weight(K, M), "b": np.ones((5, 1))}),
}


@pytest.mark.parametrize(("nodes", "tensors"), STAYS_DENSE.values(), ids=STAYS_DENSE)
def test_other_products_stay_as_they_are(nodes, tensors):
    model = model_of(nodes, **tensors)
    assert sparsify(model, "fp32", always) == model


def test_a_weight_that_the_caller_may_replace_stays_dense():
    model = model_of([("MatMul", "x w", "y")], w=weight(K, M))
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [K, M]))
    assert sparsify(model, "fp32", always) == model


def test_a_bias_for_each_token_is_no_bias_of_the_layer():
    model = model_of([MATMUL, ("Add", "p b", "y")], w=weight(K, M), b=np.ones((3, 1)))
    sparse = sparsify(model, "fp32", always)
    assert operators(sparse) == {"SparseLinear": 1, "Add": 1}
    check_same(model, sparse)


def test_layers_are_asked_about_with_their_size_and_share_of_zeros():
    w = np.zeros((K, M), np.float32)
    w[0] = 1  # one of eight inputs: one of two blocks of every row
    asked = []
    model = model_of([("MatMul", "x w", "y")], w=w)
    for precision in ("fp32", "int8"):
        assert sparsify(model, precision, lambda *question: bool(asked.append(question))) == model
    assert asked == [(LinearShape(M, K), 7 / 8), (LinearShape(M, K), 1 / 2)]
    assert str(asked[0][0]) == "6x8"


def test_a_layer_that_does_not_pay_stays_dense_among_sparse_ones():
    nodes = [("MatMul", "x w", "p"), ("MatMul", "p v", "y")]
    model = model_of(nodes, w=weight(K, M), v=weight(M, K))
    sparse = sparsify(model, "fp32", lambda shape, share: shape == (M, K))
    assert [node.op_type for node in sparse.graph.node] == ["SparseLinear", "MatMul"]
    assert "v" in tensors_of(sparse)
    check_same(model, sparse)


def test_layers_that_share_a_weight_share_the_packed_one():
    nodes = [("MatMul", "x w", "p"), ("Relu", "p", "r"), ("MatMul", "r w", "q"), ("Gemm", "q w", "y", {"transB": 1})]
    model = model_of(nodes, w=weight(K, K))
    sparse = sparsify(model, "fp32", always)
    assert operators(sparse) == {"SparseLinear": 3}
    assert len(tensors_of(sparse)) == 2 * 3 + 3
    check_same(model, sparse, shape=(3, K), atol=1e-4)


def test_what_the_body_of_a_condition_reads_is_kept():
    body = helper.make_graph(
        [helper.make_node("Add", ["p", "w"], ["z"])],
        "body",
        [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)],
    )
    nodes = [("MatMul", "x w", "p"), ("Relu", "p", "r"), ("If", "yes", "t", {"then_branch": body, "else_branch": body})]
    model = model_of([*nodes, ("Add", "r t", "y")], w=weight(K, K))
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    sparse = sparsify(model, "fp32", always)
    assert operators(sparse) == {"SparseLinear": 1, "Relu": 1, "If": 1, "Add": 1}
    check_same(model, sparse, shape=(K, K))


def test_int8_layers_are_as_exact_as_their_steps():
    model = model_of([MATMUL, ("Add", "b p", "y")], w=weight(K, M), b=BIAS)
    sparse = sparsify(model, "int8", always)
    assert operators(sparse) == {"SparseLinearInt8": 1}
    check_same(model, sparse, atol=0.05)


def test_int8_leaves_weights_without_a_scale_dense():
    w = weight(K, M)
    w[0, 0] = np.inf
    model = model_of([("MatMul", "x w", "y")], w=w)
    assert sparsify(model, "int8", always) == model
    assert operators(sparsify(model, "fp32", always)) == {"SparseLinear": 1}


def test_a_layer_of_more_inputs_than_the_operators_hold_stays_dense():
    for precision in ("fp32", "int8"):
        widest = model_of([("MatMul", "x w", "y")], w=weight(65536, 2))
        wider = model_of([("MatMul", "x w", "y")], w=weight(65540, 2))
        assert [is_sparse(sparsify(model, precision, always)) for model in (widest, wider)] == [True, False]


def test_the_file_shrinks_with_the_zeros():
    w = np.random.default_rng(0).standard_normal((256, 256)).astype(np.float32)
    w[np.random.default_rng(1).random(w.shape) < 0.9] = 0
    model = model_of([("MatMul", "x w", "y")], w=w)
    assert sparsify(model, "fp32", always).ByteSize() < 0.2 * model.ByteSize()


def test_only_a_model_with_sparse_layers_asks_for_the_library():
    model = model_of([("MatMul", "x w", "y")], w=weight(K, M))
    before = model.SerializeToString()
    sparse = sparsify(model, "fp32", always)
    assert is_sparse(sparse)
    assert not is_sparse(sparsify(model, "fp32", lambda *_: False))
    assert model.SerializeToString() == before
    assert sparsify(sparse, "fp32", always) == sparse
    assert [(entry.domain, entry.version) for entry in sparse.opset_import] == [("", 18), ("trimfit", 1)]


def test_an_unknown_precision_is_refused():
    with pytest.raises(TrimfitError, match="got precision 'bf16', expected one of fp32, int8"):
        sparsify(model_of([("MatMul", "x w", "y")]), "bf16", always)
