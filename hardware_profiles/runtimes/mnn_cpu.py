"""MNN on the CPU: models in its own form, fp32 with kernels that skip zeros, or int8."""

from __future__ import annotations

import ctypes
import os
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from benchmarks.errors import TrimfitError
from benchmarks.place import Place, current_place
from hardware_profiles.runtimes.mnn_converter import INT8, SPARSE, SUFFIX, convert
from hardware_profiles.runtimes.runtime import Feeds, Session

__all__ = ["MnnCpu"]

PACKAGE = "MNN"
LOADER = Path(__file__).with_name("mnn_loader.py")


@dataclass(frozen=True)
class MnnCpu:
    """MNN's CPU backend with floats of 32 bits, and its approximation of gelu.

    With `memory` "low" weights that are int8 in the file stay so, and activations are quantised at run time; with
    "normal" they are made floats as the model is loaded. int8 is loaded the first way if it is `dynamic`, which is
    slower on a CPU that MNN has no good int8 kernels for. Models are converted on this machine, for any other. Making
    one raises TrimfitError where MNN is not installed, here or at the place in force.
    """

    dynamic: bool = True
    memory: str = "normal"

    name = "mnn-cpu"
    precisions = ("fp32", "int8")
    contested: ClassVar[Mapping[str, str]] = {}
    skips_zeros = False  # it does in layers where the converter finds enough of them, and runs all others too
    logit_tolerance = 0.03
    """Its gelu is a fit. MiniLM's six layers: 0.006 on 96 SST-2 texts, all answers the same; exactly computed 1e-5, and
    1.3 times as long."""

    def __post_init__(self) -> None:
        if find_spec(PACKAGE) is None:  # importing it would print
            raise TrimfitError(
                f"got no {PACKAGE} in this environment, expected it for {self.name}: pip install {PACKAGE}"
            )
        if not (place := current_place()).is_here and (found := _version_at(place)) != self.version:
            raise TrimfitError(
                f"got {f'{PACKAGE} {found}' if found else f'no {PACKAGE}'} on {place.name}, expected {self.version}, in"
                f" which models are made here: pip install {PACKAGE}=={self.version} there"
            )

    @property
    def version(self) -> str:
        """Version of the installed MNN."""
        return version(PACKAGE)

    def at(self, precision: str) -> MnnCpu:
        """The same runtime, with int8 weights kept where they are int8 and that is not to be avoided."""
        return replace(self, memory="low" if precision == "int8" and self.dynamic else "normal")

    def options(self) -> dict[str, Any]:
        """Options that differ from stock, JSON-able."""
        options: dict[str, Any] = {} if self.dynamic else {"dynamic": False}
        return options if self.memory == "normal" else {**options, "memory": self.memory}

    def with_options(self, options: Mapping[str, Any]) -> MnnCpu:
        """The same runtime with exactly these options. Raises TrimfitError for an unknown one."""
        if unknown := set(options) - {"dynamic", "memory"}:
            raise TrimfitError(f"got option {min(unknown)!r} for {self.name}, expected dynamic or memory")
        return replace(self, dynamic=options.get("dynamic", True), memory=options.get("memory", "normal"))

    def alternatives(self, threads: int) -> dict[str, MnnCpu]:
        """int8 computed as such, and int8 that is nothing but a smaller file."""
        return {"stock": self, "int8 weights made floats": replace(self, dynamic=False)}

    def loader(self) -> Path:
        """How the worker loads its models."""
        return LOADER

    def session(self, path: Path, threads: int) -> Session:
        """Load a model with `threads` threads: one that `prepare` made, or an ONNX model in fp32.

        Raises TrimfitError when it cannot be converted or loaded.
        """
        path = Path(path)
        if path.suffix == SUFFIX:
            return self._loaded(path, path, threads)
        with tempfile.TemporaryDirectory(prefix="trimfit-") as folder:
            return self._loaded(convert(path, Path(folder) / f"model{SUFFIX}", SPARSE), path, threads)

    def prepare(
        self,
        fp32_model: Path,
        precision: str,
        target: Path,
        calibration: Feeds | None = None,
        keep_fp32: Collection[str] = (),
    ) -> Path:
        """Make the model of a precision in MNN's form: `target` with the ending .mnn.

        In "fp32" linear layers with 60 % of zeros or more become sparse. "int8" has int8 weights in all linear layers
        but those of the nodes in `keep_fp32`, with a scale for each output channel. Raises TrimfitError for another
        precision, or a model that cannot be converted.
        """
        if precision not in self.precisions:
            raise TrimfitError(f"got precision {precision!r}, expected one of {', '.join(self.precisions)}")
        target = Path(target).with_suffix(SUFFIX)
        if precision == "fp32":
            return convert(fp32_model, target, SPARSE)
        return convert(fp32_model, target, INT8, keep_fp32=keep_fp32)

    def _loaded(self, path: Path, asked: Path, threads: int) -> Session:
        try:
            with _prints_aside():
                from hardware_profiles.runtimes.mnn_loader import MnnModel

                return _MnnSession(MnnModel(str(path), threads, self.memory))
        # MNN raises bare ones
        except Exception as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise TrimfitError(f"got {asked}, expected an ONNX model that {self.name} loads: {reason}") from error


@contextmanager
def _prints_aside() -> Iterator[None]:
    """Send what MNN's library prints on standard output, where results go, to standard error."""
    libc = ctypes.CDLL(None) if os.name == "posix" else None
    if libc is None:  # no way to empty its buffer
        yield
        return
    kept = os.dup(1)
    libc.fflush(None)
    os.dup2(2, 1)
    try:
        yield
    finally:
        libc.fflush(None)
        os.dup2(kept, 1)
        os.close(kept)


@lru_cache(maxsize=1)
def _version_at(place: Place) -> str | None:
    """Of MNN at a place elsewhere."""
    return place.environment().packages.get(PACKAGE)


class _MnnSession:
    """See Session."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def run(self, outputs: Any, feed: Mapping[str, np.ndarray]) -> list[Any]:
        """See Session."""
        found = self._model(feed)
        if outputs is None:
            return list(found)
        return [found[self._model.outputs.index(name)] for name in outputs]

    def get_inputs(self) -> list[Any]:
        """See Session."""
        return list(self._model.inputs)
