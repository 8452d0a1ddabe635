"""What others measured on a Raspberry Pi 4, fitted by kind of layer and scored on the rows that were held out.

    python -m benchmarks.suites.raspberry_pi_4 --data FOLDER --json FILE [--entry FILE]

FOLDER holds hat/ (latency tables of HAT, columns as there) and ncnn_benchmark/all_models.csv (ncnn's benchmark table;
device, num_threads, gpu_device, model, avg_ms); $TRIMFIT_SHARED_DATA/latency unless given. Costs of FFN, attention,
heads and layers are fitted to two thirds of the English-German encoders (no encoder is in both parts), scored on the
others beside FLOPs alone, and carried over to English-French. `--entry` also writes what the catalog holds.
"""

from __future__ import annotations

import argparse
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import TrimfitError
from benchmarks.suites.raspberry_pi_4.calibrating import int8_pairs, read_engine
from benchmarks.suites.raspberry_pi_4.entry import HAT, NCNN, entry
from benchmarks.suites.raspberry_pi_4.rows import Rows
from benchmarks.suites.raspberry_pi_4.study import PARTS, Study
from benchmarks.suites.result_file import write_result
from hardware_profiles.published_model import PublishedModel

__all__ = ["DATA", "FILES", "main", "run"]

DATA = "TRIMFIT_SHARED_DATA"
FILES = {
    "ende": "hat/wmt14ende_cpu_raspberrypi.csv",
    "enfr": "hat/wmt14enfr_cpu_raspberrypi.csv",
    "ncnn": "ncnn_benchmark/all_models.csv",
}
VOCABULARY = {"ende": 32768, "enfr": 44512}  # words in the tasks' dictionaries (fairseq's); latency files do not say
LOG_WIDTH = 120
WORDS = {"by_kind": "by kind of layer", "flops": "FLOPs alone", "flops_and_constant": "FLOPs and a constant"}


def run(data: Path, seed: int = 0) -> tuple[dict[str, Any], PublishedModel]:
    """The result as JSON holds it, and the catalog's entry. Raises TrimfitError for data that is not there."""
    ende, enfr = (Study(Rows.read(data / FILES[task]), VOCABULARY[task], seed) for task in ("ende", "enfr"))
    engine = read_engine(data / FILES["ncnn"])
    costs = {part: ende.costs(part) for part in ("encoder", "decoder")}
    made = entry(ende, costs["encoder"], engine)
    result = {
        "conditions": {
            "device": made.device.name,
            "provenance": made.device.provenance,
            "sources": [source.model_dump() for source in (HAT, NCNN)],
            "sha256": {name: hashlib.sha256((data / name).read_bytes()).hexdigest() for name in FILES.values()},
            "held_out": "by sha256 of seed and encoder (width, FFN, heads), one in three; costs from steady rows",
            "steady": "deviation up to 10 % of the mean, mean up to twice the median",
            "seed": seed,
            "fitted_encoders": made.encoders,
        },
        "costs_ms": {part: {name: round(cost, 4) for name, cost in found.items()} for part, found in costs.items()},
        "held_out": ende.scores(costs),
        "transfer_to_english_french": enfr.transferred(costs),
        "interval": {
            "residual": made.residual,
            "inside_percent_english_french": _inside(enfr.errors(costs, held_out=False), made.residual),
            "fitted_gflops": round(ende.gflops(), 3),
            "engine_factor": made.calibration.engine_factor,
            "int8": made.int8.model_dump(),
        },
        "int8_times_faster": int8_pairs(engine),
    }
    return result, made


def show(result: dict[str, Any], console: Console) -> None:
    """Print the scores under their conditions."""
    conditions = result["conditions"]
    console.print(
        f"{conditions['device']}, {conditions['provenance']} by HAT (PyTorch fp32, batch 1, 30 tokens): costs fitted to"
        f" {conditions['fitted_encoders']} encoders, scored on English-German rows that were held out"
    )
    shown = Table("part", "rows", "predictor", "MAPE", "within 5 %", "within 10 %", "Spearman", "Kendall")
    for part in PARTS:
        for kind in ("steady", "all"):
            for name, found in result["held_out"][part][kind].items():
                shown.add_row(part, f"{found['rows']} {kind}", WORDS[name], *_cells(found))
        found = result["transfer_to_english_french"][part]
        shown.add_row(part, f"{found['rows']} en-fr", WORDS["by_kind"], *_cells(found), end_section=True)
    console.print(shown)
    interval = result["interval"]
    console.print(
        f"{interval['inside_percent_english_french']:.1f} % of the English-French encoders lie within the residual of"
        f" {interval['residual']:.1%}; engines differ by {interval['engine_factor']:.2f}x, int8 brings"
        f" {interval['int8']['low']:.2f}x to {interval['int8']['high']:.2f}x"
    )


def _cells(found: dict[str, Any]) -> tuple[str, ...]:
    percents = (f"{found[name]:.1f} %" for name in ("mape_percent", "within_5_percent", "within_10_percent"))
    return *percents, f"{found['spearman']:.3f}", f"{found['kendall']:.3f}"


def _inside(errors: np.ndarray, residual: float) -> float:
    return round(100 * float(np.mean(errors <= residual)), 1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit, score, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with hat/ and ncnn_benchmark/")
    parser.add_argument("--json", type=Path, required=True, help="where scores and costs are written")
    parser.add_argument("--entry", type=Path, help="where the catalog's entry is written")
    chosen = parser.parse_args(arguments)
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = LOG_WIDTH
    try:
        result, made = run(chosen.data or _default_data())
    except TrimfitError as error:
        raise SystemExit(str(error)) from error
    write_result(chosen.json, result)
    if chosen.entry:
        made.save(chosen.entry)
    show(result, console)


def _default_data() -> Path:
    if DATA not in os.environ:
        raise TrimfitError(f"got neither --data nor {DATA}, expected the folder with hat/ and ncnn_benchmark/: name it")
    return Path(os.environ[DATA]) / "latency"


if __name__ == "__main__":
    main()
