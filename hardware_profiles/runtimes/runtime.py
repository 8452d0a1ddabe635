"""Runtime: what executes an ONNX file. Every runtime is a frozen value that passes one conformance test."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

__all__ = ["Feeds", "Runtime", "Session", "loader_of"]

Feeds = Iterable[Mapping[str, np.ndarray]]
"""Inputs of a model by name, one call each."""


class Session(Protocol):
    """A loaded model, as onnxruntime's `InferenceSession`."""

    def run(self, outputs: Any, feed: Mapping[str, np.ndarray]) -> list[Any]:
        """Compute the named outputs (None: all)."""
        ...

    def get_inputs(self) -> list[Any]:
        """Names, types and shapes of the inputs."""
        ...


class Runtime(Protocol):
    """What every runtime can do."""

    @property
    def name(self) -> str:
        """Name used on the command line and in files, e.g. "onnxruntime-cpu"."""
        ...

    @property
    def version(self) -> str:
        """Installed version; it is part of a profile's identity."""
        ...

    @property
    def precisions(self) -> tuple[str, ...]:
        """Precisions that `prepare` can make, "fp32" first."""
        ...

    @property
    def contested(self) -> Mapping[str, str]:
        """Precisions that are profiled only where a whole model is faster than at the one they are mapped to."""
        ...

    @property
    def skips_zeros(self) -> bool:
        """Whether it does not multiply by zeros: it then runs what others run dense, and is profiled on top of them."""
        ...

    def at(self, precision: str) -> Runtime:
        """The runtime as it loads models of a precision."""
        ...

    def options(self) -> dict[str, Any]:
        """JSON-able options, as a benchmarks Contestant takes them; `with_options` inverts it."""
        ...

    def with_options(self, options: Mapping[str, Any]) -> Runtime:
        """The same runtime with these options. Raises TrimfitError for an unknown one."""
        ...

    def alternatives(self, threads: int) -> Mapping[str, Runtime]:
        """Option sets worth measuring on a device, by name; "stock" is among them."""
        ...

    def session(self, path: Path, threads: int) -> Session:
        """Load a model with `threads` intra-op threads."""
        ...

    def prepare(
        self,
        fp32_model: Path,
        precision: str,
        target: Path,
        calibration: Feeds | None = None,
        keep_fp32: Collection[str] = (),
    ) -> Path:
        """Make the model of a precision and return where it is; "fp32" is the file itself.

        `calibration` are rows for a precision whose activations are quantised beforehand; nodes of the names in
        `keep_fp32` are not quantised.
        """
        ...


def loader_of(runtime: Runtime) -> Path | None:
    """A file whose `load(job)` loads a runtime's models in the worker, see `Contestant.loader`; None: it needs none."""
    found: Path | None = getattr(runtime, "loader", lambda: None)()
    return found
