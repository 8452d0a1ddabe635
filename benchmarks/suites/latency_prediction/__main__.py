"""Held-out whole models, predicted by `LatencyModel` and then measured.

    python -m benchmarks.suites.latency_prediction --json FILE [--quick] [--budget fast|default|thorough]
    python -m benchmarks.suites.latency_prediction --json FILE --show

Sixty random models (2 to 12 layers with heads and neurons of their own; fp32 and int8, dense and with zeros) in six
groups of a hidden size, a sequence length and one or two threads. The blocks of a group are profiled afresh into
FILE's folder of profiles; each model is predicted, then built with random weights and timed. In two groups 20
candidates that are predicted to take the same time are timed too: is the predicted best among the fastest? What is
finished is kept in FILE: an interrupted study goes on where it was. Run it on an idle machine, about an hour.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import get_args

from rich.console import Console

from benchmarks import TrimfitError
from benchmarks.suites.latency_prediction.conditions import conditions, sentence
from benchmarks.suites.latency_prediction.group import GROUPS, QUICK_GROUPS, Group
from benchmarks.suites.latency_prediction.session import Session
from benchmarks.suites.latency_prediction.study import Study
from benchmarks.suites.latency_prediction.tables import accuracy_table, model_table, ranking_table, target_table
from benchmarks.suites.latency_prediction.targets import verdicts
from hardware_profiles.profile_request import Effort as Budget
from optimizer.progress import ConsoleProgress

__all__ = ["main", "run", "show"]

SEED = 0
LOG_WIDTH = 150  # characters of a line where there is no terminal to ask


def run(study: Study, groups: Sequence[Group], console: Console, budget: Budget, quick: bool = False) -> None:
    """Do what the study lacks of each group, in their order."""
    for number, group in enumerate(groups, 1):
        session = Session(study, group, ConsoleProgress(console), budget, quick, SEED)
        if not session.finished:
            console.print(f"{number}/{len(groups)} {group.label}")
            session.run()


def show(study: Study, console: Console) -> None:
    """Print everything measured under its conditions."""
    result = study.result
    console.print(sentence(study.conditions, len(study.models)))
    if study.models:
        console.print(model_table(study.models))
        console.print(accuracy_table(result))
        inside = result["inside_interval_percent"]
        console.print(f"{inside:.0f} % of the models took a time inside the 95 % interval of their prediction")
    for ranking in study.rankings:
        console.print(ranking_table(ranking))
    for remark in _remarks(study):
        console.print(remark)
    console.print(target_table(verdicts(result)))


def _remarks(study: Study) -> Iterator[str]:
    """What makes the numbers doubtful: profiles and models that were timed while the machine was not at rest."""
    for label, group in study.groups.items():
        yield from (f"unsteady: profile of {label}: {doubt}" for doubt in group["unsteady"])
    if unstable := [model for model in study.models if model["unstable"]]:
        worst = max(unstable, key=lambda model: len(model["unstable"]))
        example = f"{worst['group']}, model {worst['number']}: {worst['unstable'][0]}"
        yield f"unstable: {len(unstable)} of {len(study.models)} models, e.g. {example}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, help="where the study is kept")
    parser.add_argument("--quick", action="store_true", help="one small group, few calls: does everything run?")
    parser.add_argument("--budget", choices=get_args(Budget), help="of the profiles; default, with --quick fast")
    parser.add_argument("--show", action="store_true", help="print the tables of FILE and measure nothing")
    chosen = parser.parse_args(arguments)
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = LOG_WIDTH
    budget: Budget = chosen.budget or ("fast" if chosen.quick else "default")
    try:
        if chosen.show:
            study = Study(chosen.json)
        else:
            study = Study(chosen.json, conditions(budget, chosen.quick, SEED))
            run(study, QUICK_GROUPS if chosen.quick else GROUPS, console, budget, chosen.quick)
        show(study, console)
    except TrimfitError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
