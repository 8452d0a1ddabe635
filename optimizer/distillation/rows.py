"""Rows: which ones a distillation uses, in what order and with what weight, as teacher and student see them.

A rule is a frozen config class; what it changes is registered for it: `chosen`, `order_of` or `weights`. The formulas
are in `uncertainty` and `pacing`. `--rows` takes the names of `RULES`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import singledispatch
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.errors import TrimfitError
from optimizer.distillation.pacing import paced
from optimizer.distillation.uncertainty import disagreement, entropy, margin
from optimizer.encoding import Encoded

__all__ = [
    "ALL_ROWS",
    "DEFAULT_RULE",
    "RULES",
    "AllRows",
    "Curriculum",
    "Disagreed",
    "Distinct",
    "RowRule",
    "Uncertain",
    "Weighted",
    "chosen",
    "order_of",
    "rule_named",
    "weights",
]

_LEAST_LOSS = 1e-6  # nats: a teacher that is surer than that is as sure as can be


@dataclass(frozen=True)
class RowRule:
    """What all rules have; one that `asks_student` needs its logits before the training starts."""

    asks_student: ClassVar[bool] = False

    def most(self, rows: int) -> int:
        """How many of so many rows it leaves at most."""
        return rows


@dataclass(frozen=True)
class AllRows(RowRule):
    """Every row, in any order, each counting the same."""


ALL_ROWS = AllRows()


@dataclass(frozen=True)
class Distinct(RowRule):
    """Of rows with the same tokens only the first."""


@dataclass(frozen=True)
class _Share(RowRule):
    share: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise TrimfitError(f"got a share of {self.share:g} of the rows, expected one in (0, 1]")

    def most(self, rows: int) -> int:
        """How many of so many rows it leaves."""
        return max(1, math.ceil(self.share * rows))


@dataclass(frozen=True)
class Uncertain(_Share):
    """The `share` of the rows of which the teacher is least sure, by entropy."""


@dataclass(frozen=True)
class Disagreed(_Share):
    """The `share` of the rows on which teacher and student are furthest apart when the training starts."""

    asks_student: ClassVar[bool] = True


@dataclass(frozen=True)
class Curriculum(RowRule):
    """All rows, those first of which the teacher is surest: by margin, paced by the root of time.

    Bengio et al. 2009, "Curriculum Learning"; `start` is the share of the rows that is open at first, `until` the share
    of the steps after which all are, see `pacing.competence`.
    """

    start: float = 0.1
    until: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.start <= 1 or not 0 < self.until <= 1:
            raise TrimfitError(f"got start {self.start:g} and until {self.until:g}, expected shares in (0, 1]")


@dataclass(frozen=True)
class Weighted(RowRule):
    """All rows, those counting little that the student knows better than its teacher.

    w = 1 - exp(-L_s / L_t), the cross-entropies of student and teacher with the label. Zhou et al. 2021, "Rethinking
    Soft Labels for Knowledge Distillation: A Bias-Variance Tradeoff Perspective", section 4: there of the soft targets
    alone, here of a row's whole loss, divided by the batch's sum.
    """


RULES: dict[str, type[RowRule]] = {
    "all": AllRows,
    "distinct": Distinct,
    "uncertain": Uncertain,
    "disagree": Disagreed,
    "curriculum": Curriculum,
    "weighted": Weighted,
}
DEFAULT_RULE = "all"


def rule_named(name: str) -> RowRule:
    """The rule of a name. Raises TrimfitError for a name that there is not."""
    if name not in RULES:
        raise TrimfitError(f"got --rows {name}, expected one of {', '.join(RULES)}")
    return RULES[name]()


@singledispatch
def chosen(rule: Any, rows: Encoded, student: np.ndarray | None = None) -> np.ndarray:
    """Rising indices of the rows that are used.

    Args:
        rule: what to go by.
        rows: with the teacher's logits.
        student: its logits [n, classes]; for a rule that asks it.
    """
    return np.arange(len(rows))


@singledispatch
def order_of(rule: Any, rows: Encoded, *, steps: int, batch_size: int, seed: int) -> np.ndarray | None:
    """The rows of all batches one after the other [steps * batch_size]; None leaves the order to chance."""
    return None


@singledispatch
def weights(rule: Any, student: torch.Tensor, labels: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor | None:
    """What each row of a batch counts [n], of logits [n, classes] and labels [n]; None: all the same."""
    return None


@chosen.register
def _(rule: Distinct, rows: Encoded, student: np.ndarray | None = None) -> np.ndarray:
    first: dict[tuple[int, ...], int] = {}
    for index, ids in enumerate(rows.input_ids):
        first.setdefault(tuple(ids), index)
    return np.array(list(first.values()))


@chosen.register
def _(rule: Uncertain, rows: Encoded, student: np.ndarray | None = None) -> np.ndarray:
    return _greatest(entropy(_teacher(rows)), rule.most(len(rows)))


@chosen.register
def _(rule: Disagreed, rows: Encoded, student: np.ndarray | None = None) -> np.ndarray:
    if student is None:
        raise ValueError("rows are chosen by what the student says of them: give its logits")
    return _greatest(disagreement(_teacher(rows), student), rule.most(len(rows)))


@order_of.register
def _(rule: Curriculum, rows: Encoded, *, steps: int, batch_size: int, seed: int) -> np.ndarray:
    easiest = np.argsort(-margin(_teacher(rows)), kind="stable")
    return paced(
        easiest, rows.lengths, steps=steps, batch_size=batch_size, start=rule.start, until=rule.until, seed=seed
    )


@weights.register
def _(rule: Weighted, student: torch.Tensor, labels: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    L_s, L_t = (F.cross_entropy(logits.float(), labels, reduction="none") for logits in (student, teacher))
    return 1 - torch.exp(-L_s / L_t.clamp(min=_LEAST_LOSS))


def _teacher(rows: Encoded) -> np.ndarray:
    if rows.teacher_logits is None:
        raise ValueError("rows are chosen by the teacher's logits: use Encoded.with_teacher")
    return rows.teacher_logits


def _greatest(values: np.ndarray, count: int) -> np.ndarray:
    """Rising indices of the `count` greatest; of equal ones the first."""
    return np.sort(np.argsort(-values, kind="stable")[:count])
