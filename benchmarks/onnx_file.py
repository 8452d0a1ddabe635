"""An ONNX file on disk: its graph, the files it consists of, their size and hash."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

import onnx
from onnx import external_data_helper

from benchmarks.errors import TrimfitError

__all__ = ["file_bytes", "file_parts", "file_sha256", "load_graph"]


def load_graph(model: Path) -> onnx.GraphProto:
    """The graph of an ONNX file without its external data.

    Raises:
        TrimfitError: there is no such file or it is not ONNX.
    """
    if not model.is_file():
        raise TrimfitError(f"got {model}, expected an ONNX file: no such file")
    try:
        graph: onnx.GraphProto = onnx.load(str(model), load_external_data=False).graph
    except Exception as error:
        raise TrimfitError(f"got {model}, expected an ONNX file: it cannot be read ({error})") from error
    if not graph.node:
        raise TrimfitError(f"got {model}, expected an ONNX file with operators: it has none, export it again")
    return graph


def file_parts(model: Path) -> tuple[Path, ...]:
    """The model file and the files of its external data; all files below a folder; any other file alone."""
    if model.is_dir():
        return tuple(sorted(path for path in model.rglob("*") if path.is_file()))
    if model.suffix != ".onnx":
        return (model,)
    status = model.stat()
    return _onnx_parts(model, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _onnx_parts(model: Path, size: int, changed: int) -> tuple[Path, ...]:
    outside = {
        external_data_helper.ExternalDataInfo(tensor).location
        for tensor in load_graph(model).initializer
        if external_data_helper.uses_external_data(tensor)
    }
    return (model, *(model.parent / name for name in sorted(outside) if (model.parent / name).is_file()))


def file_bytes(model: Path) -> int:
    """Size of the model with its external data."""
    return sum(part.stat().st_size for part in file_parts(model))


def file_sha256(model: Path) -> str:
    """Hexadecimal sha256 of the model followed by its external data; remembered while they stay the same."""
    parts = file_parts(model)
    return _sha256(tuple((part, part.stat().st_size, part.stat().st_mtime_ns) for part in parts))


@lru_cache(maxsize=64)
def _sha256(parts: tuple[tuple[Path, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for path, _, _ in parts:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
