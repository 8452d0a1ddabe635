"""GpuRig: graphs that are held on a GPU together and timed in turns, in this process."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from benchmarks.budget import Budget
from benchmarks.gpu.session import FIRST
from benchmarks.rig import Graph, LocalRig

__all__ = ["GpuRig"]

_FIRST_CALLS = 4


class GpuRig(LocalRig):
    """As LocalRig; each call ends when the device is done and its first output, the model's answer, is back.

    `wake` brings the device's clocks up before anything is timed.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        super().__init__()
        self._wake = wake

    def load(self, name: str, graph: Graph) -> None:
        """See Rig."""
        call = partial(graph.load(), FIRST, graph.feed)
        for _ in range(_FIRST_CALLS):  # a CUDA graph that cannot be captured is found out here
            call()
        self.calls[name] = call
        self.threads = max(self.threads, graph.threads)

    def measure(self, *, budget: Budget | None = None, seed: int = 0) -> dict[str, NDArray[np.float64]]:
        """See Rig."""
        self._wake()
        return super().measure(budget=budget, seed=seed)
