"""Sparse operators inside onnxruntime against onnxruntime's dense kernels, MNN and DeepSparse.

    python -m benchmarks.suites.sparse_engines --json FILE [--quick] [--only PATTERN ...] [--list]

Linear layers alone and whole encoders with 80, 90 and 95 % of their weights zero. Every finished cell is kept in
FILE: an interrupted study goes on where it was. The cells some target is about come first (about 25 minutes; --only
asked stops there). --only picks cells by parts of their labels, e.g. --only kernel 'bert-4/tokens=128/threads=1'.
Run it on an idle machine. The first run installs the other engines into virtual environments of their own.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import TrimfitError, read_environment
from benchmarks.suites.sparse_engines.cell import Cell
from benchmarks.suites.sparse_engines.conditions import conditions, sentence
from benchmarks.suites.sparse_engines.grid import chosen_cells, grid, quick_cells
from benchmarks.suites.sparse_engines.kernels import measure_break_even, measure_kernels
from benchmarks.suites.sparse_engines.models import Models
from benchmarks.suites.sparse_engines.study import Study
from benchmarks.suites.sparse_engines.tables import kernel_table, model_table, target_table
from benchmarks.suites.sparse_engines.targets import verdicts

__all__ = ["main", "run"]


def run(study: Study, cells: Sequence[Cell], console: Console, quick: bool = False) -> None:
    """Measure the cells that the study lacks, in their order; what cannot be measured is told and left out."""
    missing = [cell for cell in cells if not study.has(cell)]
    with Models(quick) as models:
        for number, cell in enumerate(missing, 1):
            start = time.monotonic()
            try:
                found = _measure(cell, models, quick)
            except TrimfitError as error:
                console.print(f"{cell.label} could not be measured: {error}")
                continue
            seconds = time.monotonic() - start
            study.add(cell, found, {"seconds": round(seconds, 1), "load": read_environment().before.load})
            console.print(f"{number}/{len(missing)} {cell.label}: {seconds:.0f} s")


def _measure(cell: Cell, models: Models, quick: bool) -> dict[str, list[dict[str, Any]]]:
    if cell.kind == "model":
        return models.measure(cell)
    return (measure_kernels if cell.kind == "kernel" else measure_break_even)(cell, quick)


def show(study: Study, console: Console) -> None:
    """Print everything measured under its conditions, and keep the verdicts beside it."""
    found = study.best()
    judged = verdicts(found)
    environment = json.loads(read_environment().model_dump_json())
    study.save(targets=[verdict.as_json() for verdict in judged], environment=environment)
    console.print(sentence(study.conditions))
    if rows := study.entries["rows"]:
        console.print(model_table(rows))
    for name in ("", "_in_rows"):
        if kernels := study.entries[f"kernels{name}"]:
            console.print(kernel_table(kernels, study.entries[f"break_even{name}"]))
    for remark in _remarks(study):
        console.print(remark)
    console.print(target_table(judged))


def _remarks(study: Study) -> Iterator[str]:
    """What the tables leave open: contestants that are missing, rows that are unstable."""
    for entry in study.entries["refused"]:
        yield f"{entry['cell']}: {entry['contestant']} is missing: {entry['reason']}"
    rows = study.entries["rows"]
    unstable = [row for row in rows if row["unstable"]]
    if unstable:
        worst = max(unstable, key=lambda row: len(row["unstable"]))
        example = f"{worst['cell']}, {worst['contestant']}: {worst['unstable'][0]}"
        yield f"{len(unstable)} of {len(rows)} rows are unstable, e.g. {example}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, help="where the study is kept")
    parser.add_argument("--quick", action="store_true", help="three cells, few calls: does everything run?")
    parser.add_argument("--only", nargs="+", metavar="PATTERN", help="cells by parts of their labels, or: asked")
    parser.add_argument("--list", action="store_true", help="print the labels and stop")
    chosen = parser.parse_args(arguments)
    console = Console(highlight=False)
    try:
        cells = chosen_cells(quick_cells() if chosen.quick else grid(), chosen.only)
        if chosen.list:
            console.print("\n".join(cell.label for cell in cells))
            return
        study = Study(chosen.json, {**conditions(), "quick": chosen.quick})
        run(study, cells, console, chosen.quick)
        show(study, console)
    except TrimfitError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
