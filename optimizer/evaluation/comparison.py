"""Comparison of teacher and student on the same rows: scores, significance, agreement and calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from optimizer.evaluation.calibration import BINS, expected_calibration_error, softmax
from optimizer.evaluation.significance import holm, mcnemar_exact, paired_bootstrap
from optimizer.manifest import Calibration, GroupScore, SetScore
from optimizer.scoring import score

__all__ = ["Answers", "agreement", "compare_answers"]


@dataclass(frozen=True)
class Answers:
    """Logits [n, classes] of teacher and student beside label indices [n] and, where there are some, group names."""

    labels: np.ndarray
    teacher: np.ndarray
    student: np.ndarray
    groups: Sequence[str] | None = None

    def of_group(self, name: str) -> Answers:
        """The rows of one group."""
        rows = np.asarray(self.groups) == name
        return Answers(self.labels[rows], self.teacher[rows], self.student[rows])


def agreement(teacher: np.ndarray, student: np.ndarray) -> float:
    """Share of rows to which both give the same answer, of logits [n, classes]."""
    return float((teacher.argmax(axis=1) == student.argmax(axis=1)).mean())


def compare_answers(answers: Answers, metric: str, seed: int = 0) -> SetScore:
    """How the student does beside its teacher, over all rows and by group, the greatest loss first.

    The p-values of groups are Holm's, of each test over all groups.
    """
    whole = _paired(answers, metric, seed)
    return SetScore(
        **whole.model_dump(),
        calibration=Calibration(
            teacher=expected_calibration_error(answers.labels, softmax(answers.teacher)),
            student=expected_calibration_error(answers.labels, softmax(answers.student)),
            bins=BINS,
        ),
        groups=_by_group(answers, metric, seed),
    )


def _by_group(answers: Answers, metric: str, seed: int) -> dict[str, GroupScore]:
    if answers.groups is None:
        return {}
    found = {name: _paired(answers.of_group(name), metric, seed) for name in sorted(set(answers.groups))}
    adjusted = {
        test: dict(zip(found, holm([getattr(each, test) for each in found.values()]), strict=True))
        for test in ("bootstrap_p", "mcnemar_p")
    }
    worst_first = sorted(found, key=lambda name: (round(found[name].difference, 9), name))
    return {
        name: found[name].model_copy(update={test: p[name] for test, p in adjusted.items()}) for name in worst_first
    }


def _paired(answers: Answers, metric: str, seed: int) -> GroupScore:
    teacher, student = (logits.argmax(axis=1) for logits in (answers.teacher, answers.student))
    change = paired_bootstrap(answers.labels, teacher, student, metric, seed=seed)
    right = teacher == answers.labels, student == answers.labels
    return GroupScore(
        teacher=score(answers.labels, answers.teacher, metric),
        student=score(answers.labels, answers.student, metric),
        rows=len(answers.labels),
        low=change.low,
        high=change.high,
        bootstrap_p=change.p,
        mcnemar_p=mcnemar_exact(int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())),
        agreement=agreement(answers.teacher, answers.student),
    )
