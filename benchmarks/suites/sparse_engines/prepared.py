"""Prepared: the files of one encoder, as each contestant wants them, and the logits they should give."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmarks import Contestant, TrimfitError, Workload
from benchmarks.inputs import random_pool
from benchmarks.suites.engines import variants
from benchmarks.suites.engines.engine import ENGINES
from benchmarks.suites.sparse_engines.encoders import write_encoder
from benchmarks.suites.sparse_engines.names import (
    BLOCK_INT8,
    DEEPSPARSE,
    DENSE_FP32,
    DENSE_INT8,
    MNN,
    SPARSE_FP32,
    UNFUSED_FP32,
)
from benchmarks.suites.sparse_engines.torch_reference import torch_logits
from hardware_profiles.runtimes import OnnxRuntimeCpu, Runtime, get
from hardware_profiles.unit import Pattern

__all__ = ["Prepared"]

UNFUSED = OnnxRuntimeCpu(disabled_optimizers=("SkipLayerNormFusion",))
SPARSE = "onnxruntime-cpu+sparse"
NAMES = {"inputs": ["input_ids", "attention_mask", "token_type_ids"], "outputs": ["logits"]}
PATTERNS: dict[str, Pattern] = {BLOCK_INT8: "block"}

Make = Callable[[], Contestant]


class Prepared:
    """Contestants over one encoder; files are made when first asked for, in `folder`.

    `refused` says why a contestant is missing.
    """

    def __init__(self, model: str, tokens: int, sparsity: float, folder: Path) -> None:
        self.model, self.sparsity, self.folder = model, sparsity, folder
        self.workload = Workload(seq_len=tokens)
        self.refused: dict[str, str] = {}

    def matches(self, model: str, tokens: int, sparsity: float | None) -> bool:
        """Whether these are the files for such a cell."""
        return (self.model, self.workload.seq_len, self.sparsity) == (model, tokens, sparsity)

    def weights(self, pattern: Pattern) -> Path:
        """The fp32 file at fixed shapes, which some engines need and all get."""
        target = self.folder / f"{pattern}.onnx"
        if not target.exists():
            free = write_encoder(self.model, self.folder / "free.onnx", self.sparsity, pattern)
            variants.fixed(free, target, self.workload, {})
            free.unlink()
        return target

    @cached_property
    def inputs(self) -> Path:
        """The pool of inputs, the same for every contestant."""
        path = self.folder / "inputs.npz"
        np.savez(path, **random_pool(self.weights("unstructured"), self.workload))  # type: ignore[arg-type]
        return path

    @cached_property
    def contestants(self) -> Mapping[str, Contestant]:
        """Every contestant that can be made, on one thread."""
        makers: dict[str, Make] = {
            DENSE_FP32: lambda: self._onnxruntime(DENSE_FP32, OnnxRuntimeCpu(), "fp32"),
            UNFUSED_FP32: lambda: self._onnxruntime(UNFUSED_FP32, UNFUSED, "fp32"),
            DENSE_INT8: lambda: self._onnxruntime(DENSE_INT8, UNFUSED, "int8"),
            SPARSE_FP32: lambda: self._onnxruntime(SPARSE_FP32, _sparse_runtime(), "fp32"),
            BLOCK_INT8: lambda: self._onnxruntime(BLOCK_INT8, _sparse_runtime(), "int8"),
            MNN: lambda: self._engine(MNN),
            DEEPSPARSE: lambda: self._engine(DEEPSPARSE),
        }
        made = {}
        for name, make in makers.items():
            try:
                made[name] = make()
            except TrimfitError as error:
                self.refused[name] = str(error)
        return made

    def _onnxruntime(self, name: str, runtime: Runtime, precision: str) -> Contestant:
        source = self.weights(_pattern(name))
        return Contestant(
            name=name,
            model=runtime.prepare(source, precision, self.folder / f"{name}.onnx"),
            runtime=runtime.name,
            options=runtime.options(),
            workload=self.workload,
            inputs=self.inputs,
        )

    def _engine(self, name: str) -> Contestant:
        engine = next(engine for engine in ENGINES if engine.name == name)
        return engine.contestant(self.weights(_pattern(name)), self.folder, self.workload, self.inputs, NAMES)

    def onnxruntime_logits(self, name: str) -> np.ndarray:
        """Stock onnxruntime's fp32 logits of the weights a contestant has, for the first row of the inputs."""
        return self._onnxruntime_logits[_pattern(name)]

    def torch_logits(self, name: str) -> np.ndarray:
        """The same from PyTorch."""
        return self._torch_logits[_pattern(name)]

    @cached_property
    def _onnxruntime_logits(self) -> dict[Pattern, np.ndarray]:
        sessions = {pattern: OnnxRuntimeCpu().session(self.weights(pattern), 1) for pattern in self._patterns}
        return {pattern: session.run(None, self._feed)[0] for pattern, session in sessions.items()}

    @cached_property
    def _torch_logits(self) -> dict[Pattern, np.ndarray]:
        return {pattern: torch_logits(self.weights(pattern), self.model, self._feed) for pattern in self._patterns}

    @property
    def _patterns(self) -> set[Pattern]:
        return {_pattern(name) for name in self.contestants}

    @cached_property
    def _feed(self) -> dict[str, np.ndarray]:
        with np.load(self.inputs) as pool:
            return {name: pool[name][0] for name in pool.files}


def _pattern(name: str) -> Pattern:
    return PATTERNS.get(name, "unstructured")


def _sparse_runtime() -> Runtime:
    return get(SPARSE).with_options({**get(SPARSE).options(), "disabled_optimizers": ["SkipLayerNormFusion"]})
