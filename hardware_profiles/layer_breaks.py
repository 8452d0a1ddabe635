"""Which layers of a block become sparse, and from which share of zeros on, as a profile knows it."""

from __future__ import annotations

import math

from benchmarks.workload import Workload
from hardware_profiles.layer_zeros import PART_SHARES
from hardware_profiles.profile import LatencyProfile
from hardware_profiles.profile_request import ProfileRequest
from hardware_profiles.unit import Kind

__all__ = ["Breaks", "just_sparse", "layer_breaks"]

Breaks = tuple[tuple[float, float], ...]
"""Of each layer of a block (share of the block's weights, sparsity below which the layer is dense)."""

_ABOVE = 0.01  # of a break, rounded up to whole per cent
_TOO_CLOSE = 0.025  # to a share of zeros that is measured anyway


def layer_breaks(
    profile: LatencyProfile, kind: Kind, features: int, hidden_size: int, workload: Workload, precision: str
) -> Breaks:
    """The breaks of a block that is `features` wide inside; empty where nothing was measured about it."""
    here = (p for p in profile.break_even if (p.workload, p.precision) == (workload, precision))
    found = {(p.out_features, p.in_features): p.sparsity for p in here}
    layers = zip(PART_SHARES[kind], ((features, hidden_size), (hidden_size, features)), strict=True)
    return tuple((share, found[size]) for share, size in layers if size in found)


def just_sparse(profile: LatencyProfile, request: ProfileRequest, kind: Kind, precision: str) -> tuple[float, ...]:
    """Shares of zeros just above those at which a layer of the request's widest block becomes sparse.

    Time makes a step there, up or down: between the shares that are measured anyway nothing else would tell of it.
    """
    known = request.sparsities
    if not request.sparse or not known:
        return ()
    features = request.max_heads * request.head_size if kind == "attention" else request.max_ffn
    breaks = layer_breaks(profile, kind, features, request.hidden_size, request.workload, precision)
    steps = {math.ceil(100 * (least + _ABOVE)) / 100 for _, least in breaks}
    apart = (s for s in steps if min(abs(s - other) for other in known) >= _TOO_CLOSE)
    return tuple(sorted(s for s in apart if min(known) < s < max(known)))
