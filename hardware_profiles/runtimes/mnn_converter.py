"""From an ONNX file to MNN's form, by MNN's converter in a process of its own: what it aborts is not this one."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path

import onnx

from benchmarks.errors import TrimfitError
from benchmarks.onnx_file import load_graph

__all__ = ["SUFFIX", "convert"]

SUFFIX = ".mnn"
INT8 = ("--weightQuantBits", "8")
SPARSE = ("--detectSparseSpeedUp",)

# not MNN's command `mnnconvert`, which installs a package into whatever environment is active and reports to its maker
_PROGRAM = "import sys, _tools; sys.argv[0] = 'mnnconvert'; _tools.mnnconvert(sys.argv)"
_PATIENCE_SECONDS = 600.0
_WRONG = ("Not Support", "Check failed", "ERROR")
_UNREAD = "json2protobuf"  # what it says of a list that it did not understand, and goes on
_CONVERTED = "__matmul_converted"  # it makes convolutions of products with weights


def convert(
    model: Path,
    target: Path,
    options: Sequence[str] = (),
    *,
    keep_fp32: Collection[str] = (),
    python: str | Path | None = None,
) -> Path:
    """Write `target`, whole or not at all, and return it.

    Args:
        model: ONNX of up to 2 GB.
        target: the file to write or replace, in an existing folder.
        options: of the converter, e.g. INT8 or SPARSE.
        keep_fp32: names of nodes with weights that stay floats.
        python: an interpreter that has MNN; this one unless given.

    Raises:
        TrimfitError: the file is not ONNX, or the converter refuses or dies of it; one line with its last words.
    """
    source, target = Path(model).absolute(), Path(target).absolute()
    graph = _read(source)  # of what is not ONNX the converter would say little, or die
    with tempfile.TemporaryDirectory(prefix=".mnn-", dir=target.parent) as folder:
        made = Path(folder) / f"model{SUFFIX}"
        files = ["--modelFile", str(source), "--MNNModel", str(made), "--bizCode", "trimfit"]
        kept = _kept(graph, keep_fp32, Path(folder)) if keep_fp32 else ()
        command = [str(python or sys.executable), "-c", _PROGRAM, "-f", "ONNX", *files, *options, *kept]
        said = _run(command, Path(folder), model)
        if not made.is_file() or not made.stat().st_size:
            raise _refusal(model, _telling(said))
        if kept and _UNREAD in said:
            raise _refusal(model, "it does not read the list of layers that are to stay in fp32")
        if (outside := made.with_name(f"{made.name}.weight")).exists():
            raise _refusal(model, f"its weights of {outside.stat().st_size / 1e9:.1f} GB do not fit into one file")
        os.replace(made, target)
    return target


def _read(model: Path) -> onnx.GraphProto:
    try:
        return load_graph(model)
    except TrimfitError as error:
        raise _refusal(model, str(error).partition("ONNX file: ")[2] or str(error)) from error


def _kept(graph: onnx.GraphProto, names: Collection[str], folder: Path) -> tuple[str, str]:
    """The option that leaves the weights of some nodes alone.

    The converter names a layer by the tensor it makes: the node's own, or that of the sum with its bias, which it has
    swallowed. What has no such layer is passed over.
    """
    made = {node.output[0] for node in graph.node if node.name in names}
    sums = {node.output[0] for node in graph.node if node.op_type == "Add" and made.intersection(node.input)}
    found = [f"{name}{_CONVERTED}" for name in sorted(made | sums)]
    layers = [{"op_name": name, "weight": [{"name": name, "bits": 0}]} for name in found]
    told = {"version": "0", "for_guide": True, "algo": [{"type": "QUANTIZE", "quant_params": {"layer": layers}}]}
    path = folder / "kept.json"
    path.write_text(json.dumps(told), encoding="utf-8")
    return "--compressionParamsFile", str(path)


def _run(command: Sequence[str], folder: Path, model: Path) -> str:
    """What the converter said, a line at least. Raises TrimfitError where it died."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            cwd=folder,
            timeout=_PATIENCE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _refusal(model, f"it was not done after {_PATIENCE_SECONDS:.0f} s") from error
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    said = "\n".join(lines or ["it said nothing"])
    if done.returncode:
        code = done.returncode
        ending = f"it died of {signal.Signals(-code).name}" if code < 0 else f"it ended with exit code {code}"
        raise _refusal(model, f"{ending}, and said: {_telling(said)}")
    return said


def _telling(said: str) -> str:
    """The first line that says what was wrong, without its time and place; the last one where none does."""
    lines = said.splitlines()
    line = next((line for line in lines if any(word in line for word in _WRONG)), lines[-1])
    return re.sub(r"^\[[\d:]+\] :\d+: ", "", line)


def _refusal(model: Path, reason: str) -> TrimfitError:
    return TrimfitError(f"got {model}, expected an ONNX model that MNN's converter takes: {reason}")
