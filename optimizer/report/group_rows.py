"""The per-group table: who lost how much, the worst group first."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from optimizer.manifest import GroupScore

__all__ = ["FEW_ROWS", "GroupRow", "group_rows", "half_width"]

FEW_ROWS = 100  # below, one group's accuracy is known to about +-6 points or worse
_Z = 1.96  # 95 %


@dataclass(frozen=True)
class GroupRow:
    """A group's scores (shares in [0, 1]); `doubt` is the half width of the student score's 95 % interval."""

    name: str
    teacher: float
    student: float
    rows: int

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
        """The difference is smaller than the doubt of one score."""
        return abs(self.difference) < self.doubt

    @property
    def few(self) -> bool:
        """Too few rows to say much."""
        return self.rows < FEW_ROWS


def group_rows(groups: Mapping[str, GroupScore]) -> tuple[GroupRow, ...]:
    """Rows of the table, the greatest loss first; equal losses by name."""
    rows = (GroupRow(name, score.teacher, score.student, score.rows) for name, score in groups.items())
    return tuple(sorted(rows, key=lambda row: (round(row.difference, 9), row.name)))


def half_width(share: float, rows: int) -> float:
    """Half width of Wilson's 95 % interval of a share of `rows` (Wilson 1927); 1 for no rows."""
    if rows <= 0:
        return 1.0
    z2 = _Z * _Z
    return _Z * math.sqrt(share * (1 - share) / rows + z2 / (4 * rows * rows)) / (1 + z2 / rows)
