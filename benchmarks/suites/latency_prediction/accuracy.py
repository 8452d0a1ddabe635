"""Accuracy: how far predictions are from what was measured (pure functions)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["accuracy", "error_percent", "grouped", "summary"]

Entry = Mapping[str, Any]


def error_percent(predicted: float, measured: float) -> float:
    """Signed, of what was measured: above 0 where the model was faster than predicted."""
    return 100 * (predicted / measured - 1)


def accuracy(errors: Sequence[float]) -> dict[str, float | int | None]:
    """Of signed errors in percent: percent of them within 5 and within 10, their mean (bias) and the worst.

    None for all where there are no errors.
    """
    if not len(errors):
        return dict.fromkeys(("within_5_percent", "within_10_percent", "bias_percent", "worst_percent")) | {"models": 0}
    e = np.asarray(errors, float)
    return {
        "within_5_percent": round(100 * float(np.mean(np.abs(e) <= 5)), 2),
        "within_10_percent": round(100 * float(np.mean(np.abs(e) <= 10)), 2),
        "bias_percent": round(float(np.mean(e)), 3),
        "worst_percent": round(float(e[np.argmax(np.abs(e))]), 2),
        "models": len(e),
    }


def summary(models: Sequence[Entry]) -> dict[str, Any]:
    """The accuracy over all models, "by" runtime, pattern and precision, and what it would be done otherwise.

    "inside_interval_percent" is the percent of the models that took a time inside their prediction's 95 % interval.
    """
    inside = [model["low_ms"] <= model["measured_ms"] / model["clock"] <= model["high_ms"] for model in models]
    return {
        **accuracy([model["error_percent"] for model in models]),
        "inside_interval_percent": round(100 * float(np.mean(inside)), 2) if models else None,
        "by": {name: _of(found, "error_percent") for name, found in grouped(models, _kind).items()},
        "by_group": {name: _of(found, "error_percent") for name, found in grouped(models, _group).items()},
        "by_threads": {name: _of(found, "error_percent") for name, found in grouped(models, _threads).items()},
        "without_clock": _of(models, "error_without_clock_percent"),
        "profile_alone": _of(models, "error_of_profile_alone_percent"),
    }


def grouped(models: Sequence[Entry], key: Callable[[Entry], str]) -> dict[str, list[Entry]]:
    """The models by a property, in the order it is first met."""
    found: dict[str, list[Entry]] = {}
    for model in models:
        found.setdefault(key(model), []).append(model)
    return found


def _of(models: Sequence[Entry], field: str) -> dict[str, float | int | None]:
    return accuracy([model[field] for model in models])


def _kind(model: Entry) -> str:
    return f"{model['runtime']}, {model['pattern']}, {model['precision']}"


def _group(model: Entry) -> str:
    return str(model["group"])


def _threads(model: Entry) -> str:
    return str(model["workload"]["threads"])
