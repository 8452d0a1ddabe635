"""The study as tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table

from benchmarks.suites.latency_prediction.ranking import BAND
from benchmarks.suites.latency_prediction.targets import Verdict, accuracy_met
from hardware_profiles.unit import zeros_in_words

__all__ = ["accuracy_table", "model_table", "ranking_table", "target_table"]

MARKS = {True: "met", False: "NOT met", None: "not measured"}

Entry = Mapping[str, Any]


def accuracy_table(result: Entry) -> Table:
    """All models, then by kind, by group and by threads; last what other ways to compare give."""
    table = Table("models", "", "within 5 %", "within 10 %", "bias", "worst", "as asked", title="Accuracy")
    for number, section in enumerate(_sections(result)):
        if number:
            table.add_section()
        for name, part in section.items():
            table.add_row(name, *_accuracy_cells(part))
    return table


def _sections(result: Entry) -> Iterator[dict[str, Entry]]:
    yield {"all": result}
    yield result["by"]
    yield result["by_group"]
    yield {f"{threads} thread{'s' if threads != '1' else ''}": part for threads, part in result["by_threads"].items()}
    yield {
        "all, without the clock": result["without_clock"],
        "all, by the profile alone": result["profile_alone"],
    }


def _accuracy_cells(part: Entry) -> tuple[str, ...]:
    if not part["models"]:
        return "0", "", "", "", "", MARKS[None]
    return (
        str(part["models"]),
        f"{part['within_5_percent']:.1f} %",
        f"{part['within_10_percent']:.1f} %",
        f"{part['bias_percent']:+.1f} %",
        f"{part['worst_percent']:+.1f} %",
        MARKS[accuracy_met(part)],
    )


def model_table(models: Sequence[Entry]) -> Table:
    """One line a held-out model; the prediction is as it was made, the error on the clock of the measurement."""
    table = Table(
        "group", "model", "predicted (95 %), ms", "clock", "measured, ms", "error", "", title="Held-out models"
    )
    previous = None
    for model in models:
        if previous not in (None, model["group"]):
            table.add_section()
        name = model["group"] if previous != model["group"] else ""
        previous = model["group"]
        table.add_row(
            name,
            _described(model),
            f"{model['predicted_ms']:.3f} ({model['low_ms']:.3f} to {model['high_ms']:.3f})",
            f"{model['clock']:.3f}",
            f"{model['measured_ms']:.3f}",
            f"{model['error_percent']:+.1f} %",
            "unstable" if model["unstable"] else "",
        )
    return table


def ranking_table(ranking: Entry) -> Table:
    """One line a candidate, the predicted best first."""
    rows = sorted(ranking["candidates"], key=lambda row: row["predicted_ms"])
    fastest = min(row["measured_ms"] for row in rows)
    title = (
        f"{len(rows)} candidates within {100 * BAND:.0f} % of {ranking['target_ms']:.2f} ms, {ranking['group']}: the "
        f"predicted best takes {ranking['regret_percent']:.1f} % more than the fastest (one at random "
        f"{ranking['random_regret_percent']:.1f} %)"
    )
    table = Table("candidate", "predicted, ms", "measured, ms", "over the fastest", title=title)
    for row in rows:
        over = row["measured_ms"] / fastest - 1
        table.add_row(
            _described(row),
            f"{row['predicted_ms']:.3f}",
            f"{row['measured_ms']:.3f}",
            f"+{over:.1%}" if over else "the fastest",
        )
    return table


def target_table(verdicts: Sequence[Verdict]) -> Table:
    """One line a target."""
    table = Table("asked", "found", "", title="Targets")
    for verdict in verdicts:
        found = "" if verdict.found is None else f"{verdict.found:.1f} %"
        table.add_row(verdict.target.what, found, MARKS[verdict.met])
    return table


def _described(model: Entry) -> str:
    """E.g. "7 layers int8, 80% zero blocks; 41 heads, 5030 neurons"."""
    layers = model["layers"]
    zeros = f", {zeros_in_words(model['pattern'], model['sparsity'])}" if model["sparsity"] else ""
    heads, ffn = (sum(widths) for widths in zip(*layers, strict=True))
    plural = "s" if len(layers) > 1 else ""
    return f"{len(layers)} layer{plural} {model['precision']}{zeros}; {heads} heads, {ffn} neurons"
