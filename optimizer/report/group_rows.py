"""The per-group table: who lost how much, the worst group first."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from optimizer.manifest import GroupScore

__all__ = ["ALPHA", "FEW_ROWS", "GroupRow", "group_rows", "half_width"]

ALPHA = 0.05
FEW_ROWS = 100  # below, one group's accuracy is known to about +-6 points or worse
_Z = 1.96  # 95 %


@dataclass(frozen=True)
class GroupRow:
    """A group's scores (shares in [0, 1]); `doubt` is the half width of the student score's 95 % interval.

    `interval` bounds the change (95 %), the p-values are Holm's; None where nothing was tested.
    """

    name: str
    teacher: float
    student: float
    rows: int
    interval: tuple[float, float] | None = None
    bootstrap_p: float | None = None
    mcnemar_p: float | None = None

    @property
    def difference(self) -> float:
        """Student minus teacher: below 0 the group lost."""
        return self.student - self.teacher

    @property
    def doubt(self) -> float:
        """Half width of the Wilson interval of one score of so many rows (for F1 only a hint)."""
        return half_width(self.student, self.rows)

    @property
    def unsure(self) -> bool:
        """Chance may have done it: 0 is in the interval; untested, the change is less than the doubt of one score."""
        if self.interval is not None:
            return self.interval[0] <= 0 <= self.interval[1]
        return abs(self.difference) < self.doubt

    @property
    def surely_lost(self) -> bool:
        """It lost score, and more than chance does, the other groups counted in."""
        return self.difference < 0 and self.bootstrap_p is not None and self.bootstrap_p < ALPHA

    @property
    def few(self) -> bool:
        """Too few rows to say much."""
        return self.rows < FEW_ROWS


def group_rows(groups: Mapping[str, GroupScore]) -> tuple[GroupRow, ...]:
    """Rows of the table, the greatest loss first; equal losses by name."""
    rows = (
        GroupRow(
            name,
            score.teacher,
            score.student,
            score.rows,
            None if score.low is None or score.high is None else (score.low, score.high),
            score.bootstrap_p,
            score.mcnemar_p,
        )
        for name, score in groups.items()
    )
    return tuple(sorted(rows, key=lambda row: (round(row.difference, 9), row.name)))


def half_width(share: float, rows: int) -> float:
    """Half width of Wilson's 95 % interval of a share of `rows` (Wilson 1927); 1 for no rows."""
    if rows <= 0:
        return 1.0
    z2 = _Z * _Z
    return _Z * math.sqrt(share * (1 - share) / rows + z2 / (4 * rows * rows)) / (1 + z2 / rows)
