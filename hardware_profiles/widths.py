"""Which widths and which whole models a profile measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from hardware_profiles.shape import EncoderShape, LayerWidths

__all__ = ["anchor_shapes", "ffn_widths", "head_widths", "ladder", "more_anchor_shapes", "nearest", "spread"]

T = TypeVar("T")

# kernels work on 16 floats or 64 bytes at a time: the staircase has its steps at such multiples
_FFN_SHARES = [n / 48 for n in (1, 2, 3, 4, 6, 8, 12, 16, 20, 24, 32, 40)]  # denser where blocks are small
_FINE, _MEDIUM, _COARSE = 32, 64, 128
_MOST_HEADS = 16
_LEAST_BYTES, _MOST_BYTES, _STEP = 1.2e6, 64e6, 1.45  # of the weights that chains of a ladder hold


def head_widths(most: int) -> tuple[int, ...]:
    """0 to `most` heads; about 16 of them where there are more."""
    if most <= _MOST_HEADS:
        return tuple(range(most + 1))
    return (0, *sorted({round(x) for x in np.linspace(1, most, _MOST_HEADS)}))


def ffn_widths(most: int) -> tuple[int, ...]:
    """0, `most`, and round multiples between them, denser where they are small."""
    rounded = {_rounded(share * most) for share in _FFN_SHARES}
    return tuple(sorted({0, most, *(width for width in rounded if width < most)}))


def _rounded(width: float) -> int:
    """To 32 neurons below 256, to 64 below 1024, to 128 above."""
    multiple = _FINE if width < 8 * _FINE else _MEDIUM if width < 8 * _COARSE else _COARSE
    return multiple * max(1, round(width / multiple))


def ladder(unit_bytes: float, model_bytes: float, cache_bytes: float = 0.0) -> tuple[int, ...]:
    """Chain lengths whose weights grow to `model_bytes`, at most 64 MB, by about 1.45 times a step.

    They go on to twice a cache of `cache_bytes`, where that is more. None for models that any cache holds.
    """
    most = min(model_bytes, max(_MOST_BYTES, 2 * cache_bytes))
    if most <= 2 * _LEAST_BYTES:
        return ()
    steps = 1 + round(float(np.log(most / _LEAST_BYTES) / np.log(_STEP)))
    sizes = np.geomspace(_LEAST_BYTES, most, steps)
    return tuple(sorted({max(1, round(size / unit_bytes)) for size in sizes}))


def anchor_shapes(
    hidden_size: int, head_size: int, heads: Sequence[int], ffn: Sequence[int], depth: int, seed: int = 0
) -> dict[str, EncoderShape]:
    """Whole models that span what may be built: full, shallower, narrower, uneven, a single layer.

    `heads` and `ffn` are the measured widths, 0 first.
    """
    draw = _Shapes(hidden_size, head_size, heads, ffn)
    half = max(1, depth // 2)
    return {
        "full": draw.uniform(depth, 1.0),
        "half the depth": draw.uniform(half, 1.0),
        "half the width": draw.uniform(depth, 0.5),
        "half the depth, a quarter of the width": draw.uniform(half, 0.25),
        "one narrow layer": draw.uniform(1, 0.4),
        "uneven": draw.uneven(depth, seed),
    }


def more_anchor_shapes(
    hidden_size: int, head_size: int, heads: Sequence[int], ffn: Sequence[int], depth: int, seed: int = 0
) -> dict[str, EncoderShape]:
    """A second set between and beyond those of `anchor_shapes`, for a thorough profile."""
    draw = _Shapes(hidden_size, head_size, heads, ffn)
    half, most = max(1, depth // 2), max(1, 2 * depth // 3)
    return {
        "one whole layer": draw.uniform(1, 1.0),
        "three quarters of the width": draw.uniform(depth, 0.75),
        "a quarter of the width": draw.uniform(depth, 0.25),
        "two thirds of the depth, half the width": draw.uniform(most, 0.5),
        "uneven, second": draw.uneven(depth, seed + 1),
        "uneven, half the depth": draw.uneven(half, seed + 2),
    }


@dataclass(frozen=True)
class _Shapes:
    """Encoders of one hidden size whose widths were measured; 0 comes first among them."""

    hidden_size: int
    head_size: int
    heads: Sequence[int]
    ffn: Sequence[int]

    def uniform(self, depth: int, share: float) -> EncoderShape:
        heads, ffn = nearest(self.heads, share), nearest(self.ffn, share)
        return EncoderShape.uniform(self.hidden_size, self.head_size, depth, heads, ffn)

    def uneven(self, depth: int, seed: int) -> EncoderShape:
        layers = _uneven(self.heads, self.ffn, depth, seed)
        return EncoderShape(hidden_size=self.hidden_size, head_size=self.head_size, layers=layers)


def nearest(widths: Sequence[int], share: float) -> int:
    """The measured width, apart from the first, 0, that is closest to a share of the largest."""
    return min(widths[1:], key=lambda width: abs(width - share * widths[-1]))


def _uneven(heads: Sequence[int], ffn: Sequence[int], depth: int, seed: int) -> tuple[LayerWidths, ...]:
    random = np.random.default_rng(seed)
    return tuple(LayerWidths(heads=int(random.choice(heads)), ffn=int(random.choice(ffn))) for _ in range(depth))


def spread(items: Sequence[T], most: int) -> tuple[T, ...]:
    """At most `most` (2 or more) of the items in their order, evenly spread, the first and the last among them."""
    if len(items) <= most:
        return tuple(items)
    return tuple(items[round(place)] for place in np.linspace(0, len(items) - 1, most))
