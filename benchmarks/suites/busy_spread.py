"""The same model timed again and again beside busy neighbours: plain looping against `measure`.

    python -m benchmarks.suites.busy_spread --json FILE [--quick]

Plain looping is what onnxruntime_perf_test and most scripts do: one process, one warm-up, as many calls as the time
allows, the mean. Both get the same time, in turns, five times, with one neighbour multiplying matrices and with one a
CPU. The spread is (largest - smallest) / median of the five answers.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import Budget, Contestant, Workload, measure, read_environment
from benchmarks.contestant import Launch
from benchmarks.inputs import random_pool
from benchmarks.suites.known_work import PRODUCTS, rows_for, write_chain
from benchmarks.suites.neighbour import Neighbours

__all__ = ["main", "plain_mean", "spread"]

CALL_SECONDS = 0.005
SECONDS = 7.5
TIMES = 5
QUICK_SECONDS = 2.0
QUICK_TIMES = 2


def plain_mean(contestant: Contestant, seconds: float) -> float:
    """Mean seconds of calls in a plain loop of about `seconds`, in one process that is pinned nowhere."""
    with tempfile.TemporaryDirectory(prefix="trimfit-") as folder:
        inputs = Path(folder) / "inputs.npz"
        np.savez(inputs, **random_pool(contestant.model, contestant.workload))  # type: ignore[arg-type]
        with Launch(contestant, inputs, seed=0) as launch:
            launch.ready()
            first = launch.ask("load", cpus=[])["first"]["seconds"][0]
            calls = launch.ask("turn", settle=0, timed=max(1, round(seconds / first)))
    return float(np.mean(calls["seconds"]))


def spread(answers: Sequence[float]) -> float:
    """(Largest - smallest) / median."""
    return float((max(answers) - min(answers)) / np.median(answers))


def study(contestant: Contestant, neighbours: int, times: int, seconds: float) -> dict[str, Any]:
    """The answers of both ways in ms, taken in turns."""
    plain, ours = [], []
    with Neighbours(neighbours):
        for number in range(times):
            plain.append(plain_mean(contestant, seconds) * 1e3)
            (m,) = measure([contestant], budget=Budget(max_seconds=seconds), seed=number)
            ours.append(m.median_ms)
    return {
        "neighbours": neighbours,
        "plain_ms": plain,
        "measure_ms": ours,
        "plain_spread": spread(plain),
        "measure_spread": spread(ours),
    }


def table(studies: Sequence[dict[str, Any]]) -> Table:
    """One line a number of neighbours."""
    shown = Table("neighbours", "plain looping, ms", "spread", "measure, ms", "spread")
    for found in studies:
        shown.add_row(
            str(found["neighbours"]),
            _range(found["plain_ms"]),
            f"{found['plain_spread']:.1%}",
            _range(found["measure_ms"]),
            f"{found['measure_spread']:.1%}",
        )
    return shown


def _range(answers: Sequence[float]) -> str:
    return f"{min(answers):.2f} to {max(answers):.2f}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Time, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, help="where the answers are written")
    parser.add_argument("--quick", action="store_true", help="twice 2 s instead of five times 7.5 s")
    chosen = parser.parse_args(arguments)
    times, seconds = (QUICK_TIMES, QUICK_SECONDS) if chosen.quick else (TIMES, SECONDS)
    environment = read_environment()
    with tempfile.TemporaryDirectory(prefix="trimfit-") as folder:
        model = write_chain(Path(folder) / "model.onnx")
        workload = Workload(seq_len=rows_for(model, CALL_SECONDS))
        contestant = Contestant(name="model", model=model, workload=workload)
        counts = sorted({0, 1, os.cpu_count() or 1})
        studies = [study(contestant, count, times, seconds) for count in counts]
    found = {"seconds": seconds, "studies": studies, "environment": json.loads(environment.model_dump_json())}
    chosen.json.write_text(json.dumps(found, indent=1) + "\n")
    console = Console()
    console.print(
        f"A {CALL_SECONDS * 1e3:.0f} ms model ({PRODUCTS} products, one thread) on {environment.device}, "
        f"{times} times {seconds} s each way, in turns"
    )
    console.print(table(studies))


if __name__ == "__main__":
    main()
