"""Other engines side by side on one ONNX file, with the same inputs, taking turns; their outputs are compared.

    python -m benchmarks.suites.engines MODEL.onnx --json FILE [--quick] [--engines NAME ...] [--zeros 0.9]

The first run installs every engine into a virtual environment of its own below ~/.cache/trimfit/engines. An engine
that cannot be installed or refuses the model is listed with its reason. The first engine is the one the others are
compared with.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import Budget, Contestant, Measurement, TrimfitError, Workload, compare, instability, measure
from benchmarks.contestant import Launch
from benchmarks.inputs import random_pool
from benchmarks.onnx_file import load_graph
from benchmarks.suites.engines import variants
from benchmarks.suites.engines.engine import ENGINES, Engine

__all__ = ["main"]

QUICK = Budget(launches=3, rounds=4, min_samples=8, max_seconds=10)
SECONDS_EACH = 10.0

Outputs = dict[str, np.ndarray]


def outputs_of(contestant: Contestant, inputs: Path, folder: Path) -> Outputs:
    """What the contestant answers to the first row of the inputs, by position.

    Raises:
        TrimfitError: it does not load or run.
    """
    path = folder / f"{contestant.name}.npz"
    with Launch(contestant, inputs, seed=0) as launch:
        launch.ready()
        launch.ask("load", cpus=[])
        launch.ask("outputs", path=str(path))
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def enter(
    engines: Sequence[Engine], model: Path, folder: Path, workload: Workload
) -> tuple[list[Contestant], dict[str, Outputs], dict[str, str]]:
    """Contestants that run, their outputs, and why the others do not."""
    inputs = folder / "inputs.npz"
    np.savez(inputs, **random_pool(model, workload))  # type: ignore[arg-type]
    graph = load_graph(model)
    with np.load(inputs) as pool:
        names = {"inputs": list(pool.files), "outputs": [value.name for value in graph.output]}
    contestants, outputs, refused = [], {}, {}
    for engine in engines:
        try:
            contestant = engine.contestant(model, folder, workload, inputs, names)
            outputs[engine.name] = outputs_of(contestant, inputs, folder)
            contestants.append(contestant)
        except TrimfitError as error:
            refused[engine.name] = str(error)
    return contestants, outputs, refused


def differences(outputs: dict[str, Outputs], reference: str) -> dict[str, float]:
    """Largest absolute difference of any output from the reference engine's."""
    expected = outputs[reference]
    return {
        name: max(float(np.max(np.abs(found[key].astype(float) - expected[key].astype(float)))) for key in expected)
        for name, found in outputs.items()
    }


def report(measurements: Sequence[Measurement], outputs: dict[str, Outputs], refused: dict[str, str]) -> dict[str, Any]:
    """Everything as JSON: raw measurements, ratios to the first engine, output differences, refusals."""
    first, *others = measurements
    comparisons = [compare(first, other) for other in others]
    return {
        "measurements": [json.loads(m.model_dump_json()) for m in measurements],
        "comparisons": [{**comparison.model_dump(), "sentence": comparison.sentence} for comparison in comparisons],
        "max_abs_output_difference": differences(outputs, first.subject.name),
        "refused": refused,
    }


def table(measurements: Sequence[Measurement], found: dict[str, Any]) -> Table:
    """One line an engine."""
    ratios = {x["other"]: f"{x['speedup']:.2f}x ({x['low']:.2f} to {x['high']:.2f})" for x in found["comparisons"]}
    shown = Table("engine", "median", "p90", "speed-up over the first", "largest output difference")
    for m in measurements:
        name = m.subject.name
        p90 = "" if m.p90_ms is None else f"{m.p90_ms:.2f} ms"
        difference = f"{found['max_abs_output_difference'][name]:.1e}"
        shown.add_row(name, m.median_text, p90, ratios.get(name, ""), difference)
    return shown


def remarks(measurements: Sequence[Measurement], found: dict[str, Any]) -> list[str]:
    """What the table leaves open: engines that are missing, measurements that are unstable."""
    refused = [f"{name} is missing: {reason}" for name, reason in found["refused"].items()]
    return refused + [f"{m.subject.name}: {sentence}" for m in measurements for sentence in instability(m)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Install, check, time, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--json", type=Path, help="where the result is written")
    parser.add_argument("--quick", action="store_true", help="3 launches, 10 s in all")
    parser.add_argument("--engines", nargs="+", choices=[engine.name for engine in ENGINES], help="all without")
    parser.add_argument("--zeros", type=float, default=0.0, help="share of each matrix' weights set to zero first")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--seq-len", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args(arguments)
    workload = Workload(batch=chosen.batch, seq_len=chosen.seq_len, threads=chosen.threads)
    engines = [engine for engine in ENGINES if chosen.engines is None or engine.name in chosen.engines]
    with tempfile.TemporaryDirectory(prefix="trimfit-") as name:
        folder = Path(name)
        model = variants.fixed(chosen.model, folder / "model.onnx", workload, {})
        if chosen.zeros:
            model = variants.with_zeros(model, folder / "zeros.onnx", chosen.zeros)
        contestants, outputs, refused = enter(engines, model, folder, workload)
        if not contestants:
            raise SystemExit("\n".join(refused.values()))
        budget = QUICK if chosen.quick else Budget(max_seconds=SECONDS_EACH * len(contestants))
        measurements = measure(contestants, budget=budget)
    found = report(measurements, outputs, refused)
    if chosen.json:
        chosen.json.write_text(json.dumps(found) + "\n")
    console = Console()
    zeros = f", {chosen.zeros:.0%} of the weights zero" if chosen.zeros else ""
    console.print(f"{chosen.model.name}{zeros}: {workload} on {measurements[0].environment.device}, taking turns")
    console.print(table(measurements, found))
    for remark in remarks(measurements, found):
        console.print(remark)


if __name__ == "__main__":
    main()
