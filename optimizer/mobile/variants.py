"""Variant: a deployment's student as an ONNX file at one precision, from which a file for phones is made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.onnx_file import load_graph
from hardware_profiles.runtimes import OnnxRuntimeCpu, OnnxRuntimeSparse, Runtime
from hardware_profiles.runtimes.sparse.library import library_path
from hardware_profiles.runtimes.sparse.sparse_node import DOMAIN
from optimizer.deployment import Deployment
from optimizer.export import export_onnx
from optimizer.teacher import load_tokenizer

__all__ = ["Variant", "variants"]


@dataclass(frozen=True)
class Variant:
    """`deployed`: it is the deployment's model.onnx, scored and measured. `library` brings operators here."""

    name: str
    precision: str
    onnx: Path
    deployed: bool
    library: Path | None = None

    @property
    def runtime(self) -> Runtime:
        """What runs it on this machine."""
        return OnnxRuntimeSparse(custom_op_library=str(self.library)) if self.library else OnnxRuntimeCpu()


def variants(deployment: Deployment, scratch: Path) -> Iterator[Variant]:
    """The student in fp32 and in int8 with stock operators; where the deployed one has others, that one too.

    What is deployed is taken as it is; where it has another form than ONNX it is not among them. An int8 model that has
    to be made quantises activations at run time, its weights with all 8 bits, which ARM multiplies exactly.
    """
    precision = deployment.manifest.student.precision
    if deployment.deployed != deployment.onnx:  # its ONNX file is there in fp32 only
        yield Variant("fp32", "fp32", deployment.onnx, deployed=False)
        yield _int8(deployment.onnx, scratch)
        return
    is_sparse = any(node.domain == DOMAIN for node in load_graph(deployment.onnx).node)
    stock = None if is_sparse else precision
    if stock == "fp32":
        fp32 = deployment.onnx
    else:
        fp32, _ = export_onnx(deployment.model(), load_tokenizer(deployment.folder), scratch / "fp32.onnx")
    yield Variant("fp32", "fp32", fp32, deployed=stock == "fp32")
    if stock is not None and stock.startswith("int8"):
        yield Variant(stock, stock, deployment.onnx, deployed=True)
    else:
        yield _int8(fp32, scratch)
    if is_sparse:
        yield Variant(f"sparse-{precision}", precision, deployment.onnx, deployed=True, library=library_path())


def _int8(fp32: Path, scratch: Path) -> Variant:
    int8 = OnnxRuntimeCpu(reduce_range=False).prepare(fp32, "int8", scratch / "int8.onnx")
    return Variant("int8", "int8", int8, deployed=False)
