"""Numbers as people read them: with a unit and no more digits than they can use."""

from __future__ import annotations

import math

__all__ = ["milliseconds", "percent"]


def percent(share: float) -> str:
    """A share in [0, 1] as "90.1 %"."""
    return f"{100 * share:.1f} %"


def milliseconds(value: float | None) -> str:
    """Milliseconds with three significant digits: "7.05 ms", "0.512 ms", "128 ms"; a dash for None."""
    if value is None:
        return "\N{EN DASH}"
    decimals = 2 - math.floor(math.log10(value)) if value > 0 else 0
    return f"{value:.{min(max(decimals, 0), 3)}f} ms"
