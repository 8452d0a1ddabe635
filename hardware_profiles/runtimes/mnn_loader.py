"""A model in MNN's form as a function of a feed, through MNN's Module interface.

The worker runs this file by its path, in any interpreter that has numpy and MNN: it imports nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import MNN.expr as expr
import MNN.nn as nn
import numpy as np

__all__ = ["Input", "MnnModel", "load"]

Feed = dict[str, np.ndarray]

PRECISION_HIGH = 1  # floats of 32 bits, wherever it runs
MEMORY = {"normal": 0, "low": 2}  # low: int8 weights stay int8, and activations are quantised at run time


class Input(NamedTuple):
    """An input's name, its type and its shape as far as the file tells; -1 where a call may choose."""

    name: str
    type: str
    shape: tuple[int, ...]


class MnnModel:
    """A loaded model. Raises ValueError for a file or a feed that MNN cannot make anything of."""

    def __init__(self, path: str, threads: int, memory: str = "normal") -> None:
        settings = {"backend": "CPU", "precision": PRECISION_HIGH, "memory": MEMORY[memory], "numThread": threads}
        self._runtime = nn.create_runtime_manager((settings,))  # the module does not keep it alive
        self._module = nn.load_module_from_file(
            path, [], [], runtime_manager=self._runtime, dynamic=False, shape_mutable=True
        )
        info = self._module.get_info()
        self.outputs: tuple[str, ...] = tuple(info["outputNames"])
        self.inputs = tuple(
            Input(name, str(variable.dtype), tuple(variable.shape))
            for name, variable in zip(info["inputNames"], info["inputs"], strict=True)
        )

    def __call__(self, feed: Feed) -> list[np.ndarray]:
        """Every output in the order of `outputs`, for any batch and length; what is no input is passed over."""
        answers = self._module.forward([_variable(feed[entry.name]) for entry in self.inputs])
        if len(answers) != len(self.outputs):
            raise ValueError(f"MNN computed {len(answers)} outputs, expected {', '.join(self.outputs)}")
        return [np.array(answer.read()) for answer in answers]


def _variable(array: np.ndarray) -> Any:
    """An input; MNN's integers have 32 bits."""
    integer = np.issubdtype(array.dtype, np.integer)
    variable = expr.placeholder(list(array.shape), expr.NCHW, expr.int if integer else expr.float)
    variable.write(array.astype(np.int32 if integer else np.float32))
    return variable


def load(job: dict[str, Any]) -> Callable[[Feed], Any]:
    """What the worker asks for: a function of a feed."""
    if unknown := sorted(set(job["options"]) - {"dynamic", "memory"}):  # the former is for whoever chooses the latter
        raise ValueError(f"got runtime option {unknown[0]!r}, expected memory")
    return MnnModel(job["model"], job["threads"], job["options"].get("memory", "normal"))
