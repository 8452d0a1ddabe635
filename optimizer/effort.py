"""Effort: how long each stage of the main job may train."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["DEFAULT", "DEMO", "FAST", "THOROUGH", "Effort", "choose_effort"]


@dataclass(frozen=True)
class Effort:
    """Upper bounds of the training stages; each is cut by whichever bound comes first, minutes or epochs.

    A step count is fixed once, from the steps a second measured at the start of a stage, and recorded.
    """

    name: str
    teacher_minutes: float
    teacher_epochs: float
    race_minutes: float
    finalists: int
    rounds: int
    compress_minutes: float
    recover_minutes: float
    student_epochs: float
    calibration_rows: int
    profile: Literal["fast", "default", "thorough"]


DEMO = Effort("demo", 2.5, 2, 0.8, 2, 3, 1.8, 2.2, 6, 512, "fast")
FAST = Effort("fast", 5.5, 2, 1.5, 4, 4, 3.2, 4.5, 6, 1024, "fast")
DEFAULT = Effort("default", 20, 3, 6, 4, 6, 16, 22, 10, 2048, "default")
THOROUGH = Effort("thorough", 90, 4, 24, 6, 10, 80, 120, 30, 4096, "thorough")


def choose_effort(fast: bool, thorough: bool) -> Effort:
    """`--fast`, `--thorough` or neither."""
    return FAST if fast else THOROUGH if thorough else DEFAULT
