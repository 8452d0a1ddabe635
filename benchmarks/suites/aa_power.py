"""How often a model is told apart from itself, and how often from one that does 3 % more work, idle and busy.

    python -m benchmarks.suites.aa_power --json FILE [--quick]

At the default settings users get. Every comparison is added to FILE as it is made: an interrupted study goes
on where it was. FILE holds, for "idle" and "busy" (one neighbour multiplying matrices), false_positive_share,
power_at_3_percent and seconds_per_comparison, and every single comparison behind them.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import Contestant, Environment, Workload, compare, measure, read_environment
from benchmarks.suites.known_work import PRODUCTS, rows_for, write_chain
from benchmarks.suites.neighbour import Neighbours

__all__ = ["Study", "main", "summary"]

CALL_SECONDS = 0.005
SLOWER = 0.03
TRIES = {"same": 100, "slower": 50}
QUICK_TRIES = {"same": 3, "slower": 2}
NEIGHBOURS = {"idle": 0, "busy": 1}


class Study:
    """The comparisons made so far, kept in a JSON file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.comparisons: list[dict[str, Any]] = []
        if path.exists():
            self.comparisons = json.loads(path.read_text())["comparisons"]

    def count(self, condition: str, kind: str) -> int:
        """How many comparisons of a kind there are."""
        return sum(entry["condition"] == condition and entry["kind"] == kind for entry in self.comparisons)

    def add(self, entry: dict[str, Any], environment: Environment) -> None:
        """Keep one more comparison and write everything, so that nothing is lost."""
        self.comparisons.append(entry)
        text = {**summary(self.comparisons), "environment": json.loads(environment.model_dump_json())}
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps({**text, "comparisons": self.comparisons}, indent=1) + "\n")
        os.replace(part, self.path)


def summary(comparisons: Sequence[dict[str, Any]]) -> dict[str, dict[str, float | int | None]]:
    """The shares by condition; None where nothing was tried."""
    return {condition: _summary([x for x in comparisons if x["condition"] == condition]) for condition in NEIGHBOURS}


def _summary(comparisons: Sequence[dict[str, Any]]) -> dict[str, float | int | None]:
    same = [entry["difference"] for entry in comparisons if entry["kind"] == "same"]
    slower = [entry["difference"] and entry["speedup"] < 1 for entry in comparisons if entry["kind"] == "slower"]
    return {
        "false_positive_share": _mean(same),
        "power_at_3_percent": _mean(slower),
        "seconds_per_comparison": _mean([entry["seconds"] for entry in comparisons]),
        "longest_seconds": max((entry["seconds"] for entry in comparisons), default=None),
        "same": len(same),
        "slower": len(slower),
    }


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _compare(model: Path, other: Path, workload: Workload, seed: int) -> dict[str, Any]:
    """One comparison as a user makes it."""
    start = time.perf_counter()
    first = Contestant(name="model", model=model, workload=workload)
    second = Contestant(name="other", model=other, workload=workload)
    measurements = measure([first, second], seed=seed)
    comparison = compare(*measurements)
    return {
        "seed": seed,
        "difference": comparison.significant,
        "speedup": comparison.speedup,
        "low": comparison.low,
        "high": comparison.high,
        "launches": comparison.launches,
        "median_ms": measurements[0].median_ms,
        "interrupted_share": measurements[0].interrupted_share,
        "seconds": time.perf_counter() - start,
    }


def run(study: Study, tries: dict[str, int], conditions: Sequence[str], console: Console) -> None:
    """Make the comparisons that are missing, the kinds taking turns."""
    with tempfile.TemporaryDirectory(prefix="trimfit-") as folder:
        model = write_chain(Path(folder) / "model.onnx")
        models = {
            "same": model,
            "slower": write_chain(Path(folder) / "slower.onnx", round(PRODUCTS * (1 + SLOWER))),
        }
        workload = Workload(seq_len=rows_for(model, CALL_SECONDS))
        for condition in conditions:
            with Neighbours(NEIGHBOURS[condition]):
                for number in range(max(tries.values())):
                    for kind in [kind for kind in tries if study.count(condition, kind) <= number < tries[kind]]:
                        entry = _compare(model, models[kind], workload, seed=number)
                        study.add({"condition": condition, "kind": kind, **entry}, read_environment())
                        console.print(f"{condition} {kind} {number + 1}/{tries[kind]}: {_line(entry)}", highlight=False)


def _line(entry: dict[str, Any]) -> str:
    called = "difference" if entry["difference"] else "no difference"
    interval = f"{entry['low']:.4f} to {entry['high']:.4f}"
    return f"{called}, {entry['speedup']:.4f} ({interval}), {entry['seconds']:.1f} s"


def table(comparisons: Sequence[dict[str, Any]]) -> Table:
    """The shares, to be printed under the conditions."""
    shown = Table("machine", "calls a model different from itself", "finds 3 % more work", "seconds a comparison")
    for condition, found in summary(comparisons).items():
        shown.add_row(
            condition,
            _share(found["false_positive_share"], found["same"]),
            _share(found["power_at_3_percent"], found["slower"]),
            "" if found["seconds_per_comparison"] is None else f"{found['seconds_per_comparison']:.1f}",
        )
    return shown


def _share(share: float | int | None, tries: float | int | None) -> str:
    return "not tried" if share is None else f"{share:.1%} of {tries}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing of the study and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, help="where the comparisons are kept")
    parser.add_argument("--quick", action="store_true", help="3 and 2 tries a condition instead of 100 and 50")
    parser.add_argument("--only", choices=tuple(NEIGHBOURS), help="one condition instead of both")
    chosen = parser.parse_args(arguments)
    console = Console()
    study = Study(chosen.json)
    tries = QUICK_TRIES if chosen.quick else TRIES
    run(study, tries, [chosen.only] if chosen.only else list(NEIGHBOURS), console)
    environment = read_environment()
    console.print(
        f"A {CALL_SECONDS * 1e3:.0f} ms model ({PRODUCTS} products, one thread) on {environment.device}, "
        "default budget; busy: one neighbour process multiplying matrices"
    )
    console.print(table(study.comparisons))


if __name__ == "__main__":
    main()
