"""onnxruntime with inputs and outputs bound once, at addresses as its own allocator gives: the operator alone.

`InferenceSession.run` allocates and copies the output, which takes longer than a sparse layer itself.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime

Feed = dict[str, np.ndarray]

ALIGNMENT = 64  # bytes


def load(job: dict[str, Any]) -> Callable[[Feed], Any]:
    """A function of a feed that runs on the first one it is given: the pool must have one row."""
    session = sys.modules["__main__"].open_session(job)
    binding = session.io_binding()
    outputs: list[np.ndarray] = []

    def run(feed: Feed) -> list[np.ndarray]:
        if not outputs:
            outputs.extend(_bind(session, binding, feed))
        session.run_with_iobinding(binding)
        return outputs

    return run


def _bind(session: Any, binding: Any, feed: Feed) -> list[np.ndarray]:
    inputs = {name: _aligned(array) for name, array in feed.items()}
    for name, array in inputs.items():
        binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(array))
    outputs = [_aligned(array) for array in session.run(None, feed)]
    for output, array in zip(session.get_outputs(), outputs, strict=True):
        binding.bind_ortvalue_output(output.name, onnxruntime.OrtValue.ortvalue_from_numpy(array))
    binding.trimfit_inputs = inputs  # the binding holds addresses only
    return outputs


def _aligned(array: np.ndarray) -> np.ndarray:
    memory = np.empty(array.nbytes + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    copy: np.ndarray = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy
