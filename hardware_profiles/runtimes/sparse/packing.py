"""Packed weights: what the sparse operators read, made from a weight matrix and turned back into it.

Pure functions. A zero is whatever compares equal to 0: a pruned weight may be -0.0, which is not kept either.
NaN and infinity are kept.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BLOCK",
    "MOST_COLUMNS",
    "SparseBlocks",
    "SparseRows",
    "pack_blocks",
    "pack_rows",
    "share_of_zero_blocks",
    "share_of_zeros",
    "unpack_blocks",
    "unpack_rows",
]

BLOCK = 4  # weights in a block, neighbours in a row
MOST_COLUMNS = 1 << 16  # that a column index of 16 bits can name
_LEVELS = 127

Weights = NDArray[np.float32]


class SparseRows(NamedTuple):
    """The nonzero weights of a matrix [M, K], row by row (compressed sparse rows).

    `values` float32 [nonzeros]; `columns` uint16 [nonzeros], ascending within a row; `counts` int32 [M], nonzeros
    of each row; `in_features` is K.
    """

    values: NDArray[np.float32]
    columns: NDArray[np.uint16]
    counts: NDArray[np.int32]
    in_features: int


class SparseBlocks(NamedTuple):
    """The 1x4 blocks of a matrix [M, K] that hold a nonzero weight, in int8, row by row.

    `values` int8 [blocks, 4]; `columns` uint16 [blocks], column / 4, ascending within a row; `counts` int32 [M],
    blocks of each row; `scales` float32 [M], so that weight = value * scale of its row; `in_features` is K, padded
    with zeros to a multiple of 4 in the last block.
    """

    values: NDArray[np.int8]
    columns: NDArray[np.uint16]
    counts: NDArray[np.int32]
    scales: NDArray[np.float32]
    in_features: int


def share_of_zeros(weights: Weights) -> float:
    """Share of the weights that are zero."""
    return 1 - np.count_nonzero(weights) / weights.size


def share_of_zero_blocks(weights: Weights) -> float:
    """Share of the 1x4 blocks along the rows of `weights` [M, K] in which every weight is zero."""
    kept = _blocks(weights).any(axis=2)
    return 1 - np.count_nonzero(kept) / kept.size


def pack_rows(weights: Weights) -> SparseRows:
    """Keep the nonzero weights of [M, K]; `unpack_rows` gives the same matrix back.

    Raises ValueError when K is more than 65536.
    """
    _check(weights, MOST_COLUMNS)
    kept = weights != 0
    return SparseRows(
        values=weights[kept].astype(np.float32),
        columns=np.nonzero(kept)[1].astype(np.uint16),
        counts=np.count_nonzero(kept, axis=1).astype(np.int32),
        in_features=weights.shape[1],
    )


def unpack_rows(packed: SparseRows) -> Weights:
    """The matrix [M, K] that was packed."""
    weights = np.zeros((len(packed.counts), packed.in_features), np.float32)
    weights[_rows(packed.counts), packed.columns] = packed.values
    return weights


def pack_blocks(weights: Weights) -> SparseBlocks:
    """Quantise [M, K] to int8 with one scale for each row, max|row| / 127, and keep the blocks with a nonzero weight.

    Raises ValueError when K is more than 262144 or a weight is not finite.
    """
    _check(weights, MOST_COLUMNS * BLOCK)
    if not np.isfinite(weights).all():
        raise ValueError("got weights with NaN or infinity, expected finite ones: int8 has neither")
    blocks = _blocks(weights)
    kept = blocks.any(axis=2)
    scales = np.abs(weights).max(axis=1, initial=0).astype(np.float32) / np.float32(_LEVELS)
    # a row of zeros, or of denormal numbers, has scale 0: dividing by 1 makes its values 0
    values = np.rint(blocks / np.where(scales > 0, scales, 1)[:, None, None])
    return SparseBlocks(
        values=np.clip(values[kept], -_LEVELS, _LEVELS).astype(np.int8),
        columns=np.nonzero(kept)[1].astype(np.uint16),
        counts=np.count_nonzero(kept, axis=1).astype(np.int32),
        scales=scales,
        in_features=weights.shape[1],
    )


def unpack_blocks(packed: SparseBlocks) -> Weights:
    """The matrix [M, K] as the operator sees it: off by at most half a scale from the one that was packed."""
    rows = _rows(packed.counts)
    blocks = np.zeros((len(packed.counts), -(-packed.in_features // BLOCK), BLOCK), np.float32)
    blocks[rows, packed.columns] = packed.values * packed.scales[rows, None]
    return blocks.reshape(len(packed.counts), blocks.shape[1] * BLOCK)[:, : packed.in_features]


def _blocks(weights: Weights) -> Weights:
    """[M, ceil(K / 4), 4], the last block padded with zeros."""
    padded = np.pad(weights, ((0, 0), (0, -weights.shape[1] % BLOCK)))
    return padded.reshape(len(weights), padded.shape[1] // BLOCK, BLOCK)


def _rows(counts: NDArray[np.int32]) -> NDArray[np.intp]:
    """The row of each packed entry."""
    return np.repeat(np.arange(len(counts)), counts)


def _check(weights: Weights, most_columns: int) -> None:
    if weights.ndim != 2 or not 0 < weights.shape[1] <= most_columns:
        raise ValueError(f"got weights of shape {weights.shape}, expected [M, K] with K from 1 to {most_columns}")
