"""Lengths: how long the rows of real data are, as a few lengths that stand for all of them."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["MOST_POINTS", "LengthShare", "Lengths", "padded_lengths"]

MOST_POINTS = 4  # every further one is profiled and timed too
TILE = 16  # tokens: kernels that work on so many at a time take as long for one as for all of them
LEAST_TOKENS = 0.02  # share of all tokens that a group is worth measuring for


class LengthShare(NamedTuple):
    """A length in tokens, and the share of calls that it stands for."""

    seq_len: int
    share: float


class Lengths(BaseModel):
    """The lengths that stand for all, ascending, their shares adding up to 1; `shortest` and `longest` row in tokens.

    Latency is nearly linear in the length but for steps at multiples of 16 tokens, so calls within such steps take what
    their mean length takes: the sum of share x latency over the points is the mean latency over the data.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    points: tuple[LengthShare, ...] = Field(min_length=1)
    shortest: int = Field(ge=1)
    longest: int = Field(ge=1)

    @model_validator(mode="after")
    def _is_a_distribution(self) -> Lengths:
        lengths = [point.seq_len for point in self.points]
        if lengths != sorted(set(lengths)) or lengths[0] < self.shortest or lengths[-1] > self.longest:
            raise ValueError(f"got lengths {lengths}, expected ascending ones from {self.shortest} to {self.longest}")
        shares = [point.share for point in self.points]
        if min(shares) <= 0 or not math.isclose(sum(shares), 1.0, abs_tol=1e-6):
            raise ValueError(f"got shares {shares}, expected them above 0 and adding up to 1")
        return self

    @classmethod
    def of(cls, rows: ArrayLike, batch: int = 1, most: int = MOST_POINTS) -> Lengths:
        """The lengths of rows [n] (tokens, at least one row) that are asked for in batches, as at most `most` points.

        Calls of 1 to 16, 17 to 32 ... tokens make a group each. As long as there are more groups than `most`, or one
        has less than 2 % of all tokens, that with fewest tokens joins the lesser of its neighbours. A group's point is
        its mean length, rounded up or down so that the mean of all is met best.
        """
        lengths, shares = padded_lengths(np.maximum(np.asarray(rows, int), 1), batch)
        tokens, tile = lengths * shares, (lengths - 1) // TILE
        groups = _joined([np.flatnonzero(tile == number) for number in np.unique(tile)], tokens, most)
        weights = [float(np.sum(shares[group])) for group in groups]
        means = [float(np.sum(tokens[group])) / weight for group, weight in zip(groups, weights, strict=True)]
        points = map(LengthShare, _rounded(means, weights), weights)
        return cls(points=tuple(points), shortest=int(lengths[0]), longest=int(lengths[-1]))

    @property
    def mean(self) -> float:
        """Mean tokens of a call."""
        return sum(point.seq_len * point.share for point in self.points)

    @property
    def in_words(self) -> str:
        """E.g. "9 tokens (48 %), 24 tokens (31 %) and 47 tokens (21 %)"."""
        *others, last = (f"{point.seq_len} tokens ({100 * point.share:.0f} %)" for point in self.points)
        return f"{', '.join(others)} and {last}" if others else last

    def __str__(self) -> str:
        """E.g. "the data's own lengths (8 to 61 tokens, mean 25)"."""
        return f"the data's own lengths ({self.shortest} to {self.longest} tokens, mean {self.mean:.0f})"


def padded_lengths(rows: NDArray[np.int64], batch: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Each length [n] of `rows`, ascending, and the share of batches that are padded to it.

    The longest of b rows drawn at random is at most l with probability F(l)^b, F being the share of rows up to l.
    """
    lengths, counts = np.unique(rows, return_counts=True)
    up_to = np.cumsum(counts) / len(rows)
    return lengths, np.diff(up_to**batch, prepend=0.0)


def _joined(groups: list[NDArray[np.int64]], tokens: NDArray[np.float64], most: int) -> list[NDArray[np.int64]]:
    """Neighbouring groups of indices into `tokens` [n] joined until few are left and none is negligible."""
    while len(groups) > 1:
        sizes = [float(np.sum(tokens[group])) for group in groups]
        least = int(np.argmin(sizes))
        if len(groups) <= most and sizes[least] >= LEAST_TOKENS * sum(sizes):
            break
        neighbours = [place for place in (least - 1, least + 1) if 0 <= place < len(groups)]
        first = min(least, min(neighbours, key=lambda place: sizes[place]))
        groups = [*groups[:first], np.concatenate(groups[first : first + 2]), *groups[first + 2 :]]
    return groups


def _rounded(means: list[float], weights: list[float]) -> tuple[int, ...]:
    """Each of the means as a whole number beside it; of all choices that whose weighted mean is nearest to theirs."""
    choices = itertools.product(*((math.floor(mean), math.ceil(mean)) for mean in means))
    return min(choices, key=lambda choice: abs(float(np.dot(np.subtract(choice, means), weights))))
