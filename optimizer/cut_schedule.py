"""CutSchedule: in how many cuts a student gets to its size, and with which weights it goes on after each."""

from __future__ import annotations

from typing import Literal, get_args

from benchmarks.errors import TrimfitError

__all__ = ["CUT_SCHEDULES", "DEFAULT_CUT_SCHEDULE", "CutSchedule", "check_cut_schedule", "cuts_of", "rewinds"]

CutSchedule = Literal["gradual", "one-shot", "lottery", "lottery-early"]
"""gradual: ever smaller cuts, each followed by training; one-shot: one cut, then all the training.

The lottery trains before it cuts, cuts as often as gradual does, and after each cut gives what is left the weights back
that it had: the teacher's, or with lottery-early those of an early step of the first training (see `pruning.lottery`).
"""
CUT_SCHEDULES: tuple[CutSchedule, ...] = get_args(CutSchedule)
DEFAULT_CUT_SCHEDULE: CutSchedule = "gradual"


def rewinds(schedule: CutSchedule) -> bool:
    """Whether what is left goes back to earlier weights after each cut."""
    return schedule in ("lottery", "lottery-early")


def cuts_of(schedule: CutSchedule, rounds: int, zeros_by: str | None = None) -> int:
    """How many cuts there are, of at most `rounds`; movement makes zeros step by step while it trains, in one go."""
    return 1 if schedule == "one-shot" or zeros_by == "movement" else rounds


def check_cut_schedule(schedule: str, zeros_by: str) -> None:
    """Raise TrimfitError for a name that there is not, or a schedule that movement has no use for."""
    if schedule not in CUT_SCHEDULES:
        raise TrimfitError(f"got --schedule {schedule}, expected one of {', '.join(CUT_SCHEDULES)}")
    if zeros_by == "movement" and schedule != "gradual":
        raise TrimfitError(
            f"got --schedule {schedule} with --zeros-by movement, expected gradual: it makes zeros while it trains"
        )
