"""Which hidden sizes are tried beside the teacher's: few, and none where profiling them would not be worth it."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.errors import TrimfitError
from optimizer.architecture import Architecture
from optimizer.candidates import PricesAt
from optimizer.target import MaxDrop, Target

__all__ = ["FAR", "hidden_sizes", "sizes_below"]

SHARES = (2 / 3, 1 / 2)  # of the teacher's hidden size
STEP = 32  # kernels work on 16 floats or 64 bytes at a time
_FEWEST_STEPS = 4  # of a model that has steps worth keeping to; in narrower ones a head is one
FAR = 5.0
"""Times that cuts alone, without a lower precision, must make a model faster before narrower ones are tried unasked.

Each size is profiled for a minute or two and looked at for another.
"""


def sizes_below(shape: Architecture) -> tuple[int, ...]:
    """The smaller hidden sizes to try, largest first; none for a model that is as wide as one head."""
    step = STEP if shape.hidden_size >= _FEWEST_STEPS * STEP else shape.head_size
    rounded = (step * round(share * shape.hidden_size / step) for share in SHARES)
    return tuple(size for size in dict.fromkeys(rounded) if 0 < size < shape.hidden_size)


def hidden_sizes(
    pattern: str | None, precision: str | None, target: Target, prices: Sequence[PricesAt], shape: Architecture
) -> tuple[int, ...]:
    """The sizes to profile and to judge for a job.

    Args:
        pattern: the only one allowed, None for any.
        precision: the same.
        target: what the job is to reach.
        prices: of every runtime at every precision, fp32 with the stock one first.
        shape: the teacher's.

    Without their being asked for by name there are none, unless cuts must make the fastest dense model `FAR` times
    faster and can do so at the teacher's own size: what no cut of it reaches is not promised by a narrower one.

    Raises TrimfitError when they were asked for and the teacher is too narrow.
    """
    if pattern == "hidden":
        if sizes := sizes_below(shape):
            return sizes
        raise TrimfitError(
            f"got --pattern hidden for hidden states as narrow as one head, {shape.hidden_size}, expected wider ones:"
            " choose width"
        )
    if pattern is not None or isinstance(target, MaxDrop):
        return ()
    wanted = target.milliseconds(prices[0].predict(shape).ms)
    allowed = [each for each in prices if precision in (None, each.precision)]
    dense, fastest = min(each.predict(shape).ms for each in allowed), min(each.fastest_ms() for each in allowed)
    return sizes_below(shape) if fastest <= wanted <= dense / FAR else ()
