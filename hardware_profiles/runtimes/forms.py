"""form_of: a runtime at a precision by its name on the command line, as a benchmark takes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.errors import TrimfitError
from benchmarks.form import Form
from hardware_profiles.runtimes.registry import get

__all__ = ["form_of"]


def form_of(name: str) -> Form:
    """The form of "RUNTIME", which runs what it can as it is, or of "RUNTIME:PRECISION".

    Raises TrimfitError for a runtime that there is not or does not work here, and for a precision it does not make.
    """
    word, _, precision = name.partition(":")
    runtime = get(word)
    if precision and precision not in runtime.precisions:
        raise TrimfitError(f"got --runtime {name}, expected {word} with one of {', '.join(runtime.precisions)}")
    asked = precision or runtime.precisions[0]
    loads = runtime.at(asked)

    def make(model: Path, target: Path, rows: Sequence[Mapping[str, np.ndarray]]) -> Path:
        return runtime.prepare(model, asked, target, calibration=rows)

    return Form(loads.name, precision or None, loads.options(), loads.loader(), make)
