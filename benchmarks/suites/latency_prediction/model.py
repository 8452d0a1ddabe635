"""Model: a whole model as the study predicts, builds and times it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hardware_profiles.profile_request import SKIPPED
from hardware_profiles.shape import EncoderShape
from hardware_profiles.unit import Pattern, zeros_in_words
from optimizer.preparation import RUNTIME, SPARSE_RUNTIME

__all__ = ["KINDS", "Model"]

KINDS: tuple[tuple[str, Pattern], ...] = (
    ("fp32", "dense"),
    ("int8", "dense"),
    ("fp32", SKIPPED["fp32"]),
    ("int8", SKIPPED["int8"]),
)
"""(precision, pattern) of the models there are."""


@dataclass(frozen=True)
class Model:
    """The shape, precision and zeros: all that latency depends on."""

    shape: EncoderShape
    precision: str
    pattern: Pattern = "dense"
    sparsity: float = 0.0

    @property
    def runtime(self) -> str:
        """The name of the runtime it runs with: sparse operators where there are zeros to skip."""
        return SPARSE_RUNTIME if self.sparsity else RUNTIME

    @property
    def kind(self) -> str:
        """E.g. "onnxruntime-cpu, dense, int8"."""
        return f"{self.runtime}, {self.pattern}, {self.precision}"

    def __str__(self) -> str:
        """E.g. "5 layers int8, 80% zero blocks"."""
        zeros = f", {zeros_in_words(self.pattern, self.sparsity)}" if self.sparsity else ""
        plural = "s" if len(self.shape.layers) > 1 else ""
        return f"{len(self.shape.layers)} layer{plural} {self.precision}{zeros}"

    def as_json(self) -> dict[str, Any]:
        """What identifies it; `layers` are (heads, FFN neurons)."""
        return {
            "runtime": self.runtime,
            "pattern": self.pattern,
            "precision": self.precision,
            "sparsity": self.sparsity,
            "hidden_size": self.shape.hidden_size,
            "head_size": self.shape.head_size,
            "layers": [[layer.heads, layer.ffn] for layer in self.shape.layers],
        }
