"""What a study was measured under: device, versions of every engine, the library of sparse operators."""

from __future__ import annotations

import hashlib
import subprocess
from typing import Any

from benchmarks import TrimfitError, read_environment
from benchmarks.suites.engines.engine import ENGINES, Engine
from benchmarks.suites.engines.environments import environment
from benchmarks.suites.sparse_engines.names import DEEPSPARSE, MNN
from hardware_profiles.runtimes.sparse.library import library_path

__all__ = ["conditions", "sentence"]

PACKAGES = {MNN: "MNN", DEEPSPARSE: "deepsparse"}
QUESTION = "import sys; from importlib.metadata import version; print(version(sys.argv[1]))"


def conditions() -> dict[str, Any]:
    """What must be the same for all numbers of one file; installs the engines that are not there yet."""
    machine = read_environment()
    return {
        "device": machine.device,
        "system": machine.system,
        "isa": list(machine.isa),
        "python": machine.python,
        "packages": machine.packages,
        "engines": {engine.name: _version(engine) for engine in ENGINES if engine.name in PACKAGES},
        "library_sha256": _library(),
    }


def sentence(found: dict[str, Any]) -> str:
    """The conditions in one sentence."""
    engines = ", ".join(f"{name} {version}" for name, version in found["engines"].items())
    return (
        f"Batch 1 on {found['device']}, onnxruntime {found['packages'].get('onnxruntime')}, {engines}; random weights, "
        "zeros at random places; contestants take turns, medians of the calls that nothing interrupted"
    )


def _version(engine: Engine) -> str:
    try:
        python = environment(engine.loader or engine.name, engine.requirements, engine.python)
    except TrimfitError as error:
        return f"missing: {error}"
    command = [str(python), "-c", QUESTION, PACKAGES[engine.name]]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _library() -> str:
    """Of the sparse operators, so that one file never mixes two builds of them."""
    try:
        return hashlib.sha256(library_path().read_bytes()).hexdigest()
    except TrimfitError as error:
        return f"missing: {error}"
