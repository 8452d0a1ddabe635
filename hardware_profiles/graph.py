"""The ONNX graph of an encoder's pieces, node for node as optimum exports BERT.

The same nodes matter because onnxruntime fuses by pattern: a neater graph would be fused otherwise and take
another time than the model that is deployed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.errors import TrimfitError
from hardware_profiles.runtimes.sparse.packing import BLOCK
from hardware_profiles.unit import OF, Pattern

__all__ = ["ACTIVATIONS", "VOCABULARY", "EncoderGraph", "kept"]

ACTIVATIONS = ("gelu", "relu")

_OPSET = 18
_IR_VERSION = 8
VOCABULARY = 1000
_MAX_POSITIONS = 512
_LABELS = 2
_EPSILON = 1e-12
_WEIGHT_SCALE = 0.04
_NOISE_SIZE = 1 << 22

BATCH, SEQUENCE = "batch_size", "sequence_length"


def kept(inputs: int, outputs: int, pattern: Pattern, sparsity: float, random: np.random.Generator) -> np.ndarray:
    """Which weights [inputs, outputs] of a layer are not zero: single ones, blocks of 4 consecutive inputs, n of 4."""
    if pattern == "n:m":
        drawn = random.random((-(-inputs // OF), OF, outputs), dtype=np.float32)
        rank = drawn.argsort(axis=1).argsort(axis=1)
        return (rank < round(OF * (1 - sparsity))).reshape(-1, outputs)[:inputs]
    rows = -(-inputs // BLOCK) if pattern == "block" else inputs
    mask = random.random((rows, outputs), dtype=np.float32) >= sparsity
    return np.repeat(mask, BLOCK, axis=0)[:inputs] if pattern == "block" else mask


class EncoderGraph:
    """Grows an encoder block by block and saves it.

    Inputs are `input_ids`, `attention_mask` and `token_type_ids` (int64 [batch, sequence]); the output is
    `logits` (float32 [batch, 2]). Weights are random from `seed` and differ from block to block, so that
    caches behave as in a trained model; a share `sparsity` of those in the blocks' linear layers is zero: single
    ones, or with the pattern "block" 4 consecutive inputs of one output. It may differ by a layer's size (outputs,
    inputs); sizes that are not named then have no zeros.
    """

    def __init__(
        self,
        hidden_size: int,
        *,
        head_size: int = 64,
        activation: str = "gelu",
        pattern: Pattern = "unstructured",
        sparsity: float | Mapping[tuple[int, int], float] = 0.0,
        max_positions: int = _MAX_POSITIONS,
        seed: int = 0,
    ):
        if activation not in ACTIVATIONS:
            raise TrimfitError(f"got activation {activation!r}, expected one of {', '.join(ACTIVATIONS)}")
        self.hidden_size = hidden_size
        self.head_size = head_size
        self.activation = activation
        self.pattern = pattern
        self.sparsity = sparsity
        self.max_positions = max_positions
        self._random = np.random.default_rng(seed)
        self._noise = self._random.random(_NOISE_SIZE, dtype=np.float32) * 2 - 1
        self._nodes: list[onnx.NodeProto] = []
        self._tensors: dict[str, onnx.TensorProto] = {}
        self._blocks = 0
        self._hidden = self._embeddings()
        self._mask = self._extended_mask()

    # -- blocks ---------------------------------------------------------------------------------------------

    def attention(self, heads: int) -> EncoderGraph:
        """Append self-attention with `heads` heads, its residual and its LayerNormalization; 0: bias only."""
        name, x = self._begin("attention")
        y = self._heads(f"{name}/self", x, heads) if heads else ""
        self._hidden = self._output(f"{name}/output", y, x, heads * self.head_size)
        return self

    def ffn(self, width: int) -> EncoderGraph:
        """Append an FFN of `width` neurons, its residual and its LayerNormalization; 0: bias only."""
        name, x = self._begin("ffn")
        y = self._activated(name, self._linear(f"{name}/up", x, self.hidden_size, width)) if width else ""
        self._hidden = self._output(f"{name}/output", y, x, width)
        return self

    def save(self, path: Path, *, keep_mask: bool = False) -> Path:
        """Write the model and return `path`.

        `keep_mask` makes the extended attention mask an output too, so that the nodes that compute it stay in
        a graph without attention.
        """
        logits = self._pooler_and_head()
        outputs = [helper.make_tensor_value_info(logits, TensorProto.FLOAT, [BATCH, _LABELS])]
        if keep_mask:
            outputs.append(helper.make_tensor_value_info(self._mask, TensorProto.FLOAT, [BATCH, 1, SEQUENCE, SEQUENCE]))
        inputs = [
            helper.make_tensor_value_info(name, TensorProto.INT64, [BATCH, SEQUENCE])
            for name in ("input_ids", "attention_mask", "token_type_ids")
        ]
        graph = helper.make_graph(self._nodes, "encoder", inputs, outputs, list(self._tensors.values()))
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", _OPSET)],
            ir_version=_IR_VERSION,
            producer_name="trimfit",
        )
        Path(path).write_bytes(model.SerializeToString())
        return Path(path)

    # -- pieces ---------------------------------------------------------------------------------------------

    def _embeddings(self) -> str:
        length = self._dimension("embeddings/length", "input_ids", 1)
        positions = self._constant("position_ids", np.arange(self.max_positions, dtype=np.int64)[None])
        one, zero = self._ints("one", [1]), self._ints("zero", [0])
        position = self._node("Slice", "embeddings/position_ids", [positions, zero, length, one, one])
        words = self._gather_rows("word", VOCABULARY, "input_ids")
        types = self._gather_rows("token_type", 2, "token_type_ids")
        total = self._node("Add", "embeddings/words", [words, types])
        total = self._node(
            "Add", "embeddings/sum", [total, self._gather_rows("position", self.max_positions, position)]
        )
        return self._layer_norm("embeddings/LayerNorm", total)

    def _gather_rows(self, name: str, rows: int, ids: str) -> str:
        table = self._constant(f"{name}_embeddings.weight", self._draw((rows, self.hidden_size)))
        return self._node("Gather", f"embeddings/{name}", [table, ids])

    def _extended_mask(self) -> str:
        """[batch, 1, sequence, sequence]: 0 where a token may be attended to, float32's minimum elsewhere."""
        rows = self._unsqueezed("mask/rows", self._extent("mask/rows", "attention_mask", 0))
        columns = self._unsqueezed("mask/columns", self._extent("mask/columns", "attention_mask", 1))
        queries = "embeddings/length/unsqueezed"
        lifted = self._node("Unsqueeze", "mask/lift_1", ["attention_mask", self._ints("one", [1])])
        lifted = self._node("Unsqueeze", "mask/lift_2", [lifted, self._ints("two", [2])])
        shape = self._node("Concat", "mask/shape", [rows, self._ints("one", [1]), queries, columns], axis=0)
        shape = self._node("Reshape", "mask/shape_flat", [shape, self._ints("minus_one", [-1])])
        minus_ones, ones = self._ints("minus_ones", [-1] * 4), self._ints("ones", [1] * 4)
        unknown = self._node("Equal", "mask/unknown", [shape, minus_ones])
        shape = self._node("Where", "mask/shape_known", [unknown, ones, shape])
        expanded = self._node("Expand", "mask/expand", [lifted, shape])
        floats = self._node("Cast", "mask/float", [expanded], to=TensorProto.FLOAT)
        hidden = self._node("Sub", "mask/inverted", [self._float("one_f", 1.0), floats])
        is_hidden = self._node("Cast", "mask/bool", [hidden], to=TensorProto.BOOL)
        lowest = self._float("lowest", float(np.finfo(np.float32).min))
        return self._node("Where", "mask/extended", [is_hidden, lowest, hidden])

    def _heads(self, name: str, x: str, heads: int) -> str:
        """Scaled dot-product attention: [batch, sequence, hidden] -> [batch, sequence, heads * head_size]."""
        width = heads * self.head_size
        rows = self._unsqueezed(f"{name}/rows", self._extent(f"{name}/rows", x, 0))
        columns = self._unsqueezed(f"{name}/columns", self._extent(f"{name}/columns", x, 1))
        split = [rows, *(self._ints(f"{name}/{i}", [i]) for i in (-1, heads, self.head_size))]
        q, k, v = (
            self._node(
                "Reshape",
                f"{name}/{role}/heads",
                [
                    self._linear(f"{name}/{role}", x, self.hidden_size, width),
                    self._node("Concat", f"{name}/{role}/shape", split, axis=0),
                ],
            )
            for role in ("query", "key", "value")
        )
        q = self._node("Transpose", f"{name}/query/t", [q], perm=[0, 2, 1, 3])
        v = self._node("Transpose", f"{name}/value/t", [v], perm=[0, 2, 1, 3])
        root_scale = self._scale(name, q)
        k = self._node("Transpose", f"{name}/key/t", [k], perm=[0, 2, 3, 1])
        scores = self._node(
            "MatMul",
            f"{name}/scores",
            [
                self._node("Mul", f"{name}/query/scaled", [q, self._node("Sqrt", f"{name}/sq", [root_scale])]),
                self._node("Mul", f"{name}/key/scaled", [k, self._node("Sqrt", f"{name}/sk", [root_scale])]),
            ],
        )
        scores = self._node("Add", f"{name}/masked", [scores, self._mask])
        weights = self._node("Softmax", f"{name}/weights", [scores], axis=-1)
        context = self._node("MatMul", f"{name}/context", [weights, v])
        context = self._node("Transpose", f"{name}/context/t", [context], perm=[0, 2, 1, 3])
        merged = [rows, columns, self._ints(f"{name}/width", [width])]
        shape = self._node("Concat", f"{name}/context/shape", merged, axis=0)
        return self._node("Reshape", f"{name}/context/merged", [context, shape])

    def _scale(self, name: str, q: str) -> str:
        """1 / sqrt(head size), read from the queries' shape at run time, as torch's exporter writes it."""
        size = self._node("Shape", f"{name}/size", [q])
        last = [self._ints("minus_one", [-1]), self._ints("end", [np.iinfo(np.int64).max])]
        size = self._node("Slice", f"{name}/size/last", [size, *last])
        root = self._node("Sqrt", f"{name}/root", [self._node("Cast", f"{name}/size/f", [size], to=TensorProto.FLOAT)])
        one = self._constant("ones_f", np.ones(1, np.float32))
        return self._node(
            "Cast", f"{name}/scale", [self._node("Div", f"{name}/inverse", [one, root])], to=TensorProto.FLOAT
        )

    def _activated(self, name: str, x: str) -> str:
        if self.activation == "relu":
            return self._node("Relu", f"{name}/relu", [x])
        root_two = self._float("root_two", 1.4142135381698608)
        y = self._node("Erf", f"{name}/erf", [self._node("Div", f"{name}/div", [x, root_two])])
        y = self._node("Add", f"{name}/plus_one", [y, self._float("one_f", 1.0)])
        y = self._node("Mul", f"{name}/times", [x, y])
        return self._node("Mul", f"{name}/gelu", [y, self._float("half", 0.5)])

    def _output(self, name: str, y: str, residual: str, width: int) -> str:
        """Linear layer to the hidden size, residual, LayerNormalization; without `y` only its bias."""
        if y:
            y = self._linear(f"{name}/dense", y, width, self.hidden_size)
            total = self._node("Add", f"{name}/residual", [y, residual])
        else:
            bias = self._constant(f"{name}/dense.bias", self._draw((self.hidden_size,)))
            total = self._node("Add", f"{name}/residual", [residual, bias])
        return self._layer_norm(f"{name}/LayerNorm", total)

    def _pooler_and_head(self) -> str:
        zero = self._constant("zero_scalar", np.array(0, np.int64))
        first = self._node("Gather", "pooler/first", [self._hidden, zero], axis=1)
        pooled = self._node("Tanh", "pooler/tanh", [self._gemm("pooler", first, self.hidden_size)])
        return self._gemm("logits", pooled, _LABELS)

    # -- nodes and tensors ----------------------------------------------------------------------------------

    def _begin(self, kind: str) -> tuple[str, str]:
        self._blocks += 1
        return f"block.{self._blocks - 1}/{kind}", self._hidden

    def _linear(self, name: str, x: str, rows: int, columns: int) -> str:
        product = self._node("MatMul", f"{name}/MatMul", [x, self._weight(f"{name}.weight", rows, columns)])
        bias = self._constant(f"{name}.bias", self._draw((columns,)))
        return self._node("Add", f"{name}/Add", [bias, product])

    def _gemm(self, name: str, x: str, columns: int) -> str:
        weight = self._constant(f"{name}.weight", self._draw((columns, self.hidden_size)))
        bias = self._constant(f"{name}.bias", self._draw((columns,)))
        return self._node("Gemm", name, [x, weight, bias], transB=1)

    def _layer_norm(self, name: str, x: str) -> str:
        weight = self._constant(f"{name}.weight", 1 + self._draw((self.hidden_size,)))
        bias = self._constant(f"{name}.bias", self._draw((self.hidden_size,)))
        return self._node("LayerNormalization", name, [x, weight, bias], axis=-1, epsilon=_EPSILON)

    def _extent(self, name: str, x: str, axis: int) -> str:
        index = self._constant(f"axis_{axis}", np.array(axis, np.int64))
        return self._node("Gather", f"{name}/extent", [self._node("Shape", f"{name}/shape_of", [x]), index])

    def _dimension(self, name: str, x: str, axis: int) -> str:
        return self._unsqueezed(name, self._extent(name, x, axis))

    def _unsqueezed(self, name: str, x: str) -> str:
        return self._node("Unsqueeze", f"{name}/unsqueezed", [x, self._ints("zero", [0])])

    def _node(self, op: str, name: str, inputs: list[str], **attributes: Any) -> str:
        self._nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def _weight(self, name: str, rows: int, columns: int) -> str:
        """Weights [inputs, outputs], as MatMul takes them."""
        values = self._draw((rows, columns))
        known = self.sparsity
        sparsity = known.get((columns, rows), 0.0) if isinstance(known, Mapping) else known
        if sparsity:
            values[~kept(rows, columns, self.pattern, sparsity, self._random)] = 0
        return self._constant(name, values)

    def _draw(self, shape: tuple[int, ...]) -> np.ndarray:
        """Uniform numbers of a weight's usual size, cut from one block of noise: drawing is the slow part."""
        size = int(np.prod(shape))
        start = int(self._random.integers(_NOISE_SIZE))
        cut = np.take(self._noise, np.arange(start, start + size), mode="wrap")
        return (cut * np.float32(_WEIGHT_SCALE)).reshape(shape)

    def _ints(self, name: str, values: list[int]) -> str:
        return self._constant(name, np.array(values, np.int64))

    def _float(self, name: str, value: float) -> str:
        return self._constant(name, np.array(value, np.float32))

    def _constant(self, name: str, value: np.ndarray) -> str:
        if name not in self._tensors:
            self._tensors[name] = numpy_helper.from_array(value, name)
        return name
