"""Lengths: how long the rows of real data are, as a few lengths that stand for all of them."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["MOST_POINTS", "LengthShare", "Lengths", "padded_lengths"]

MOST_POINTS = 3  # every further one is profiled and timed too


class LengthShare(NamedTuple):
    """A length in tokens, and the share of calls that it stands for."""

    seq_len: int
    share: float


class Lengths(BaseModel):
    """The lengths that stand for all, ascending, their shares adding up to 1; `shortest` and `longest` row in tokens.

    Latency is nearly linear in the length, so a group of rows takes what its mean length takes: the sum of share x
    latency over the points is the mean latency over the data.
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

        Calls are cut, from the shortest to the longest, into groups of equally many tokens: each then takes a like
        part of the time. All of one length are in one group; a group's point is its mean length in whole tokens.
        """
        lengths, shares = padded_lengths(np.maximum(np.asarray(rows, int), 1), batch)
        tokens = lengths * shares / np.sum(lengths * shares)
        group = np.minimum((most * (np.cumsum(tokens) - tokens / 2)).astype(int), most - 1)
        points = []
        for number in np.unique(group):
            mine = group == number
            share = float(np.sum(shares[mine]))
            mean = float(np.sum(lengths[mine] * shares[mine])) / share
            points.append(LengthShare(math.floor(mean + 0.5), share))
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
