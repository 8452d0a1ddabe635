"""Cuts: layers made fewer or narrower without knowing which of their weights matter."""

from __future__ import annotations

from collections.abc import Sequence

from optimizer.architecture import LayerShape

__all__ = ["narrower", "shallower"]

Layers = tuple[LayerShape, ...]

_LANES = 16  # floats that kernels work on at a time: FFN widths between its multiples gain nothing


def shallower(layers: Sequence[LayerShape], depth: int) -> Layers:
    """`depth` of the layers, spread evenly from the first."""
    return tuple(layers[i * len(layers) // depth] for i in range(depth))


def narrower(layers: Sequence[LayerShape], share: float) -> Layers:
    """Every layer with about this share of its heads and neurons; a block that is there keeps at least one."""
    return tuple(LayerShape(heads=_part(x.heads, share, 1), ffn=_part(x.ffn, share, _LANES)) for x in layers)


def _part(width: int, share: float, multiple: int) -> int:
    """The multiple that is closest to a share of `width`, at least one; of 1 where `width` itself is less than one."""
    step = multiple if width >= multiple else 1
    return min(width, step * max(1, round(share * width / step)))
