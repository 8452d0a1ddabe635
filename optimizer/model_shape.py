"""ModelShape: all that a model's latency depends on, read from its folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from optimizer.architecture import Architecture
from optimizer.model_folder import inspect_folder, load_classifier
from optimizer.preparation import activation_of
from optimizer.teacher import position_limit

__all__ = ["ModelShape"]


@dataclass(frozen=True)
class ModelShape:
    """Width of every layer, the activation to profile with, and the tokens a row that the model takes at most."""

    architecture: Architecture
    activation: str
    most_tokens: int

    @classmethod
    def read(cls, folder: Path) -> ModelShape:
        """Read a Hugging Face folder or a deployment.

        Raises TrimfitError for one that is refused (see `inspect_folder`) or whose activation cannot be profiled.
        """
        found = inspect_folder(folder)
        labels = found.labels or {0: "0", 1: "1"}
        model = load_classifier(folder, len(labels), labels)
        return cls(Architecture.of(model), activation_of(model), position_limit(model.config))
