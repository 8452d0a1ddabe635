"""Students by the way they were made: how much of the teacher's score is left at a measured speed-up.

    python -m benchmarks.suites.students --data sst2|afrisenti|masakhanews --model FOLDER --source FOLDER --json FILE
    python -m benchmarks.suites.students --data NAME --json FILE --show

FOLDER of --model: a fine-tuned classifier, or an encoder that is fine-tuned first (MiniLM-L6 for sst2; for the others a
multilingual one). --source holds the published sets. Each row of the table is one `trimfit optimize` in a process of
its own: one thread, the lengths that the data has, speed-up over the teacher's fp32 onnxruntime. Students are chosen on
dev and scored once on test. What is finished is kept in FILE, and what is stopped goes on where it was; --only NAME
takes the rows whose name begins so, --minutes starts no further row after that long.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import TrimfitError, read_environment
from benchmarks.suites.students.data_sets import DATA_SETS, lay_out
from benchmarks.suites.students.methods import Method, methods
from benchmarks.suites.students.row import row_of
from benchmarks.suites.students.study import Study
from benchmarks.suites.students.tables import also_table, table
from benchmarks.suites.students.teacher import fine_tuned
from optimizer.manifest import Manifest
from optimizer.progress import ConsoleProgress

__all__ = ["main"]

LOG_WIDTH = 170  # characters of a line where there is no terminal to ask
COMMON = ("--seq-len", "data", "--threads", "1")


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the students that are missing and print the table."""
    chosen = _parser().parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else LOG_WIDTH, highlight=False)
    try:
        study = Study(chosen.json, chosen.data)
        if not chosen.show:
            _run(study, chosen, console)
        console.print(table(study.rows))
        if others := also_table(study.rows):
            console.print(others)
    except TrimfitError as error:
        raise SystemExit(f"error: {error}") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=tuple(DATA_SETS), required=True)
    parser.add_argument("--model", type=Path, help="Hugging Face folder of the classifier or encoder")
    parser.add_argument("--source", type=Path, help="folder of the published sets, one folder each")
    parser.add_argument("--json", type=Path, required=True, help="where the rows are kept")
    parser.add_argument("--work", type=Path, help="folder of unfinished rows; beside FILE unless given")
    parser.add_argument("--only", nargs="+", default=[""], help="rows whose name begins so, e.g. 'trimfit, 8x'")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="start no row after so long")
    parser.add_argument("--show", action="store_true", help="print the table of FILE and train nothing")
    return parser


def _run(study: Study, chosen: argparse.Namespace, console: Console) -> None:
    if chosen.model is None or chosen.source is None:
        raise TrimfitError("got no --model or no --source, expected both, or --show: name the two folders")
    start = time.monotonic()
    work: Path = chosen.work or chosen.json.with_suffix("")
    data, also = lay_out(chosen.data, chosen.source, work)
    teacher = fine_tuned(chosen.data, chosen.model, data, work / "teacher", ConsoleProgress(console))
    for method in methods(chosen.data):
        if study.has(method.key) or not method.key.startswith(tuple(chosen.only)):
            continue
        if time.monotonic() - start > 60 * chosen.minutes:
            console.print(f"{chosen.minutes:g} minutes are over: run the same command again for the rest")
            return
        console.print(f"-- {method.key}")
        study.add(method.key, _made(chosen.data, method, teacher, data, also, work))


def _made(name: str, method: Method, teacher: Path, data: Path, also: Sequence[Path], work: Path) -> dict[str, Any]:
    """The row of a method; where there can be no such student, the reason."""
    out = work / "students" / method.key.replace(", ", "-").replace(" ", "-")
    out.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "optimizer", "optimize", "--model", str(teacher), "--data", str(data)]
    command += ["--out", str(out), *DATA_SETS[name].options, *COMMON, *method.arguments]
    command += [part for path in also for part in ("--also-test", str(path))]
    with (out.with_suffix(".log")).open("a") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code == 2:
        return {"data": name, "method": method.name, "target": method.speedup, "seed": method.seed,
                "training": method.training, "refused": _last_line(out.with_suffix(".log"))}  # fmt: skip
    if code not in (0, 1):
        raise TrimfitError(f"{' '.join(command)} ended with {code}: see {out.with_suffix('.log')}, then run this again")
    manifest = Manifest.read(out)
    return row_of(name, method, manifest, manifest.minutes, used.ru_maxrss / 1024) | {
        "device": read_environment().device
    }


def _last_line(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1]


if __name__ == "__main__":
    main()
