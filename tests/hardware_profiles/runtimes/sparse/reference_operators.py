"""What the operators of domain "trimfit" compute, in numpy: `run(model, feed)` executes a model that uses them."""

from __future__ import annotations

from math import ceil, erf

import numpy as np
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from hardware_profiles.runtimes.sparse.attention_cores import attention
from hardware_profiles.runtimes.sparse.packing import SparseBlocks, SparseRows, unpack_blocks, unpack_rows

ACTIVATIONS = {
    "none": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "gelu": lambda x: (0.5 * x * (1 + np.vectorize(erf)(x / np.sqrt(2)))).astype(np.float32),
}


def tile_width(tokens):
    tiles = ceil(tokens / 64)
    return tiles, 16 * ceil(ceil(tokens / tiles) / 16)


def tiled(rows):
    """[B, T, F] -> [B, n, F, w]; what pads the last tile is not a number, so that it cannot be used unnoticed."""
    batch, tokens, features = rows.shape
    tiles, width = tile_width(tokens)
    padded = np.full((batch, tiles * width, features), np.nan, np.float32)
    padded[:, :tokens] = rows
    return padded.reshape(batch, tiles, width, features).transpose(0, 1, 3, 2)


def untiled(tiles, attention_mask):
    batch, tokens = attention_mask.shape
    count, width = tile_width(tokens)
    assert tiles.shape[:2] + tiles.shape[3:] == (batch, count, width)
    return tiles.transpose(0, 1, 3, 2).reshape(batch, count * width, -1)[:, :tokens]


def rows_of(tiles):
    """Every token, those of the padding too."""
    return tiles.transpose(0, 1, 3, 2).reshape(tiles.shape[0], -1, tiles.shape[2])


def tiles_of(rows, tiles):
    """Back from `rows_of`."""
    batch, count, _, width = tiles.shape
    return rows.reshape(batch, count, width, -1).transpose(0, 1, 3, 2)


def linear(node, x, weights, bias):
    is_tiled = getattr(node, "input_layout", "rows") == "tiles"
    becomes_tiled = getattr(node, "output_layout", "rows") == "tiles"
    rows = rows_of(x) if is_tiled else x
    assert rows.shape[-1] == node.in_features
    y = ACTIVATIONS[node.activation]((rows @ weights.T + bias).astype(np.float32))
    if is_tiled:
        assert becomes_tiled, "a tiled layer's rows cannot be counted without a mask"
        return tiles_of(y, x)
    return tiled(y) if becomes_tiled else y


class SparseLinear(OpRun):
    op_domain = "trimfit"

    def _run(self, x, values, columns, counts, bias, **_):
        assert (values.dtype, columns.dtype, counts.dtype) == (np.float32, np.uint16, np.int32)
        weights = unpack_rows(SparseRows(values, columns, counts, self.in_features))
        return (linear(self, x, weights, bias),)


class SparseLinearInt8(OpRun):
    op_domain = "trimfit"

    def _run(self, x, values, columns, counts, scales, bias, **_):
        assert (values.dtype, scales.dtype) == (np.int8, np.float32)
        weights = unpack_blocks(SparseBlocks(values, columns, counts, scales, self.in_features))
        return (linear(self, x, weights, bias),)


class Tile(OpRun):
    op_domain = "trimfit"

    def _run(self, x, **_):
        return (tiled(x),)


class Untile(OpRun):
    op_domain = "trimfit"

    def _run(self, x, attention_mask, **_):
        return (untiled(x, attention_mask),)


class TiledAddLayerNormalization(OpRun):
    op_domain = "trimfit"

    def _run(self, x, residual, gamma, beta, **_):
        total = rows_of(x + residual)
        centred = total - total.mean(-1, keepdims=True)
        y = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + self.epsilon) * gamma + beta
        return (tiles_of(y.astype(np.float32), x),)


class TiledAttention(OpRun):
    op_domain = "trimfit"

    def _run(self, q, k, v, attention_mask, **_):
        q, k, v = (untiled(x, attention_mask) for x in (q, k, v))
        return (tiled(attention(q, k, v, attention_mask, self.heads, self.scale).astype(np.float32)),)


class TiledSelfAttention(OpRun):
    op_domain = "trimfit"

    def _run(self, x, attention_mask, **_):
        q, k, v = np.split(untiled(x, attention_mask), 3, axis=-1)
        return (tiled(attention(q, k, v, attention_mask, self.heads, self.scale).astype(np.float32)),)


OPERATORS = [
    SparseLinear,
    SparseLinearInt8,
    Tile,
    Untile,
    TiledAddLayerNormalization,
    TiledAttention,
    TiledSelfAttention,
]


def run(model, feed):
    return ReferenceEvaluator(model, new_ops=OPERATORS).run(None, feed)
