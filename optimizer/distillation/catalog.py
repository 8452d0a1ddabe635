"""The objectives by the names that `--distill` takes."""

from __future__ import annotations

from typing import Any

from benchmarks.errors import TrimfitError
from optimizer.distillation.cofi import CoFi
from optimizer.distillation.distilbert import DistilBert
from optimizer.distillation.minilm import MiniLM, MiniLMv2
from optimizer.distillation.objectives import CrossEntropy, SoftTargets
from optimizer.distillation.tinybert import TinyBert

__all__ = ["DEFAULT_OBJECTIVE", "OBJECTIVES", "name_of", "objective_named"]

OBJECTIVES: dict[str, type] = {
    "soft-targets": SoftTargets,
    "distilbert": DistilBert,
    "tinybert": TinyBert,
    "minilm": MiniLM,
    "minilmv2": MiniLMv2,
    "cofi": CoFi,
    "labels": CrossEntropy,
}
DEFAULT_OBJECTIVE = "soft-targets"


def objective_named(name: str) -> Any:
    """The objective of a name, with its paper's weights. Raises TrimfitError for a name that there is not."""
    if name not in OBJECTIVES:
        raise TrimfitError(f"got --distill {name}, expected one of {', '.join(OBJECTIVES)}")
    return OBJECTIVES[name]()


def name_of(objective: Any) -> str:
    """The name `--distill` takes; of an objective that has none there, its class's."""
    return next((name for name, kind in OBJECTIVES.items() if kind is type(objective)), type(objective).__name__)
