"""Methods: ways to make a student, each a line of options for `trimfit optimize`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from benchmarks.suites.students.data_sets import DATA_SETS
from optimizer.cut_schedule import CUT_SCHEDULES, DEFAULT_CUT_SCHEDULE
from optimizer.distillation.catalog import DEFAULT_OBJECTIVE, OBJECTIVES
from optimizer.pruning.importance import DEFAULT_IMPORTANCE, IMPORTANCES

__all__ = ["Method", "methods"]

Training = Literal["fast", "default", "thorough"]
SEEDS = (0, 1, 2)
ABLATED_AT = {"sst2": 8.0, "afrisenti": 5.0, "masakhanews": 5.0}  # times faster


@dataclass(frozen=True)
class Method:
    """One row of the table: trimfit as it is, or with one thing taken from it.

    `training` is how long it may train (`--fast` and so on), the same for all that are compared.
    """

    name: str
    speedup: float
    seed: int
    training: Training
    options: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The row's name within a result."""
        return f"{self.name}, {self.speedup:g}x, {self.training}, seed {self.seed}"

    @property
    def arguments(self) -> list[str]:
        """Of `trimfit optimize`, but for what all rows share."""
        effort = [] if self.training == "default" else [f"--{self.training}"]
        return ["--speedup", f"{self.speedup:g}", "--seed", str(self.seed), *effort, *self.options]


def methods(data: str) -> list[Method]:
    """All rows of a data set: the headline with every seed, then what it is compared with, at the same training."""
    targets = DATA_SETS[data].targets
    ablated = ABLATED_AT[data]
    found = [Method("trimfit", target, SEEDS[0], "default") for target in targets]
    found += [Method("trimfit", target, SEEDS[0], "fast") for target in targets]
    found += [
        Method("int8 only", 2.0, SEEDS[0], "fast", ("--precision", "int8", "--pattern", "dense")),
        *(
            Method(name, target, SEEDS[0], "fast", options)
            for target in dict.fromkeys((ablated, *targets))
            for name, options in {
                "fewer layers": ("--pattern", "depth"),
                "fewer layers, no teacher": ("--pattern", "depth", "--distill", "labels"),
                "uniform widths": ("--pattern", "uniform"),
                "magnitude": ("--pattern", "width", "--importance", "magnitude"),
            }.items()
        ),
        Method("width", ablated, SEEDS[0], "fast", ("--pattern", "width")),
        Method("hidden", ablated, SEEDS[0], "fast", ("--pattern", "hidden")),
        *(
            Method(f"importance {name}", ablated, SEEDS[0], "fast", ("--pattern", "width", "--importance", name))
            for name in IMPORTANCES
            if name not in (DEFAULT_IMPORTANCE, "magnitude")
        ),
        *(
            Method(f"distill {name}", ablated, SEEDS[0], "fast", ("--pattern", "width", "--distill", name))
            for name in OBJECTIVES
            if name != DEFAULT_OBJECTIVE
        ),
        *(
            Method(f"schedule {name}", ablated, SEEDS[0], "fast", ("--pattern", "width", "--schedule", name))
            for name in CUT_SCHEDULES
            if name != DEFAULT_CUT_SCHEDULE
        ),
    ]
    if data == "sst2":
        found += [Method("trimfit", target, seed, "default") for seed in SEEDS[1:] for target in targets]
    return found
