"""Rig: many small graphs that are held loaded together and timed in turns; LocalRig: in this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.budget import Budget
from benchmarks.calls import measure_calls

__all__ = ["Graph", "LocalRig", "Rig"]

Run = Callable[[Any, Mapping[str, np.ndarray]], object]


@dataclass(frozen=True)
class Graph:
    """A model with one input, to be called again and again.

    `model` is a file, or its content; `options` and `loader` are those of the worker, for which files may be named.
    `session` loads it into this process and returns its `run`; None loads it with stock onnxruntime.
    """

    model: Path | bytes
    feed: Mapping[str, np.ndarray]
    threads: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)
    session: Callable[[], Run] | None = None
    loader: Path | None = None

    def load(self) -> Run:
        """Load it into this process."""
        if self.session is not None:
            return self.session()
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        model = self.model if isinstance(self.model, bytes) else str(self.model)
        run: Run = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"]).run
        return run


class Rig(Protocol):
    """Graphs that are loaded where they are to be timed. Use as a context manager: none outlives the block."""

    def __enter__(self) -> Rig: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def __len__(self) -> int: ...

    @property
    def threads(self) -> int:
        """The most threads of a call."""
        ...

    def load(self, name: str, graph: Graph) -> None:
        """Load one more graph; its file is not needed afterwards."""
        ...

    def measure(self, *, budget: Budget | None = None, seed: int = 0) -> dict[str, NDArray[np.float64]]:
        """Seconds per call [rounds] of every graph by name, as `measure_calls`."""
        ...


class LocalRig:
    """In this process."""

    def __init__(self) -> None:
        self.calls: dict[str, Callable[[], object]] = {}
        self.threads = 1

    def __enter__(self) -> LocalRig:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.calls.clear()

    def __len__(self) -> int:
        return len(self.calls)

    def load(self, name: str, graph: Graph) -> None:
        """See Rig."""
        self.calls[name] = partial(graph.load(), None, graph.feed)
        self.threads = max(self.threads, graph.threads)

    def measure(self, *, budget: Budget | None = None, seed: int = 0) -> dict[str, NDArray[np.float64]]:
        """See Rig."""
        return measure_calls(self.calls, budget=budget, threads=self.threads, seed=seed)
