"""Mixed zeros: what a block takes whose two parts have different shares of zeros. Pure functions on a ZerosCurve.

Blocks were measured with one share of zeros throughout. What they gain is divided between their parts so that, at one
share, the parts' gains add up to what was measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import zip_longest

from hardware_profiles.layer_zeros import PART_SHARES
from hardware_profiles.unit import Kind
from hardware_profiles.zeros_curve import ZerosCurve

__all__ = ["gained", "is_sparse", "mixed_seconds", "part_breaks"]

_Dense = Callable[[int], float]


def part_breaks(curve: ZerosCurve) -> tuple[float, float]:
    """The shares of zeros below which each part is dense; 0 where nothing was measured about that."""
    if len(curve.breaks) == 2:
        (_, reading), (_, writing) = curve.breaks
        return reading, writing
    return curve.pays_from, curve.pays_from


def is_sparse(curve: ZerosCurve, part: int, sparsity: float) -> bool:
    """Whether a part with this share of zeros runs sparse."""
    return sparsity > 0 and sparsity >= part_breaks(curve)[part] and curve.sparse_share(sparsity) > 0


def gained(curve: ZerosCurve, kind: Kind, part: int, width: int, sparsity: float, dense: _Dense) -> float:
    """Seconds that the zeros of one part take off a block of this width whose weights are in cache.

    Between two breaks a block's gain belongs to the parts that are sparse there, by their weights; the step at a
    break belongs to the part that becomes sparse.

    Args:
        part: 0 for what reads the hidden state, 1 for what writes it.
        dense: seconds of a dense block by width.
    """
    whole, breaks, shares = dense(width), part_breaks(curve), PART_SHARES[kind]

    def gain(share: float) -> float:
        return whole - curve.seconds(width, share, dense)

    def before(share: float) -> float:
        return gain(math.nextafter(share, 0.0)) if share else 0.0

    def mine(parts: list[int]) -> float:
        return shares[part] / sum(shares[p] for p in parts) if part in parts else 0.0

    edges = sorted({least for least in breaks if least <= sparsity})
    total = 0.0
    for start, stop in zip_longest(edges, edges[1:]):
        sparse = [p for p, least in enumerate(breaks) if least <= start]
        joining = [p for p in sparse if breaks[p] == start]
        end = gain(sparsity) if stop is None else before(stop)
        total += mine(joining) * (gain(start) - before(start)) + mine(sparse) * (end - gain(start))
    return total


def mixed_seconds(curve: ZerosCurve, kind: Kind, width: int, shares: tuple[float, float], dense: _Dense) -> float:
    """Seconds of a block in cache whose parts have these shares of zeros."""
    off = (gained(curve, kind, part, width, share, dense) for part, share in enumerate(shares) if share)
    return dense(width) - sum(off)
