"""Form: what a benchmark makes of an ONNX file before it is timed, and what runs that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contestant import BUILT_IN

__all__ = ["Form", "Make"]

Make = Callable[[Path, Path, Sequence[Mapping[str, np.ndarray]]], Path]


@dataclass(frozen=True)
class Form:
    """A runtime at a precision; by default onnxruntime with the file as it is.

    `options` and `loader` are those of a Contestant. `make` writes what is timed: it is given an ONNX file, the path to
    write (whose ending it may change) and a few made-up rows of inputs, and returns where it is.
    """

    runtime: str = BUILT_IN
    precision: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    loader: Path | None = None
    make: Make | None = None

    @property
    def name(self) -> str:
        """E.g. "mnn-cpu int8"."""
        return " ".join(filter(None, (self.runtime, self.precision)))
