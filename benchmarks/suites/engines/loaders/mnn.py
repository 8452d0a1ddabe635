"""MNN, through its Module interface; options: {"inputs": names, "outputs": names}."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import MNN.expr as expr
import MNN.nn as nn
import numpy as np

Feed = dict[str, np.ndarray]

PRECISE = {"backend": "CPU", "precision": "high"}


def load(job: dict[str, Any]) -> Callable[[Feed], Any]:
    """A function of a feed that writes the inputs, runs and reads every output."""
    names = job["options"]["inputs"]
    runtime = nn.create_runtime_manager(({**PRECISE, "numThread": job["threads"]},))
    net = nn.load_module_from_file(
        job["model"], names, job["options"]["outputs"], runtime_manager=runtime, shape_mutable=False
    )

    def run(feed: Feed) -> list[np.ndarray]:
        outputs = net.forward([_variable(feed[name]) for name in names])
        return [np.array(output.read()) for output in outputs]

    return run


def _variable(array: np.ndarray) -> Any:
    integer = np.issubdtype(array.dtype, np.integer)
    variable = expr.placeholder(list(array.shape), expr.NCHW, expr.int if integer else expr.float)
    variable.write(array.astype(np.int32 if integer else np.float32))
    return variable
