"""Engine: another way to run the same ONNX file, and what it needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.contestant import Contestant
from benchmarks.suites.engines import variants
from benchmarks.suites.engines.environments import environment
from benchmarks.workload import Workload

__all__ = ["ENGINES", "Engine"]

LOADERS = Path(__file__).parent / "loaders"

Prepare = Callable[[Path, Path, Path | None], Path]


@dataclass(frozen=True)
class Engine:
    """How to install, prepare and load one engine."""

    name: str
    requirements: tuple[str, ...] = ()
    """None: it runs in the environment of trimfit itself."""
    python: str | None = None
    loader: str | None = None
    prepare: Prepare = variants.as_it_is
    options: dict[str, Any] = field(default_factory=dict)
    wants_names: bool = False
    """Whether its loader must be told the names of inputs and outputs."""

    def contestant(
        self, model: Path, folder: Path, workload: Workload, inputs: Path, names: dict[str, list[str]]
    ) -> Contestant:
        """Install the engine, prepare the model and describe the contestant.

        Raises:
            TrimfitError: it cannot be installed or refuses the model.
        """
        python = environment(self.loader or self.name, self.requirements, self.python) if self.requirements else None
        extra = {**names, "batch": workload.batch} if self.wants_names else {}
        return Contestant(
            name=self.name,
            model=self.prepare(model, folder, python),
            runtime=self.loader or "onnxruntime-cpu",
            options={**self.options, **extra},
            workload=workload,
            inputs=inputs,
            python=python,
            loader=LOADERS / f"{self.loader}.py" if self.loader else None,
        )


OPENVINO = ("onnxruntime-ep-openvino", "onnxruntime>=1.23", "numpy")
DEEPSPARSE = ("deepsparse==1.8.0", "numpy<2", "setuptools<70", "onnx<1.15")

ENGINES = (
    Engine("onnxruntime-fp32"),
    Engine("onnxruntime-int8", prepare=variants.int8),
    Engine("openvino-fp32", OPENVINO, loader="openvino", options={"precision": "f32"}),
    Engine("openvino-bf16", OPENVINO, loader="openvino", options={"precision": "bf16"}),
    Engine("mnn-fp32", ("MNN", "numpy"), loader="mnn", prepare=variants.mnn, wants_names=True),
    Engine("deepsparse-fp32", DEEPSPARSE, python="3.11", loader="deepsparse", wants_names=True),
)
