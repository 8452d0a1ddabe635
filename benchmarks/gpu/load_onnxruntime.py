"""Loader for the worker: a model in onnxruntime on a GPU. Run by path, so that it finds the packages by itself."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

__all__ = ["load"]

sys.path.append(str(Path(__file__).resolve().parents[2]))

import onnxruntime  # noqa: F401  (its import is paid before the clock of loading starts)

from benchmarks.gpu.onnxruntime_session import open_session
from benchmarks.gpu.session import GpuCall


def load(job: dict[str, Any]) -> Any:
    """The model of a worker's job on the GPU of the job's number, as a function of a feed (`GpuCall`)."""
    session = open_session(job["model"], job["options"], job["threads"], job["gpu"])
    return GpuCall(session, cold=bool(job["options"].get("cold_cache")))
