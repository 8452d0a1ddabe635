"""What a study was measured under: device, versions, the library of sparse operators, the code that predicts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hardware_profiles
from benchmarks import TrimfitError, read_environment
from benchmarks.onnx_file import file_sha256
from hardware_profiles.runtimes.sparse.library import library_path

__all__ = ["conditions", "sentence"]

CLOCK = (
    "the full model is timed (median of three copies) right after the profile and again in turns with the held-out "
    "models of its precision; clock is the second time over the first, round by round, and error = "
    "prediction x clock / measured - 1, as in `optimize`, whose teacher is timed so; its first time is an anchor of "
    "the prediction too; with several threads all times are of the calls whose CPUs were near each other "
    "(benchmarks/near_cores.py), the median of all calls stands beside"
)


def conditions(budget: str, quick: bool, seed: int) -> dict[str, Any]:
    """What must be the same for all numbers of one file."""
    machine = read_environment()
    return {
        "device": machine.device,
        "system": machine.system,
        "isa": list(machine.isa),
        "python": machine.python,
        "packages": machine.packages,
        "library_sha256": _library(),
        "code_sha256": _code(Path(hardware_profiles.__file__).parent, Path(__file__).parent),
        "budget": budget,
        "quick": quick,
        "seed": seed,
        "clock": CLOCK,
    }


def sentence(found: Mapping[str, Any], models: int) -> str:
    """The conditions in one sentence."""
    return (
        f"{models} random whole models that no profile has seen, batch 1 on {found['device']}, onnxruntime "
        f"{found['packages'].get('onnxruntime')}; blocks profiled just before (budget {found['budget']}), each model "
        "predicted before it was built, then timed in turns with the full model, which tells how much slower the "
        "machine had become since the profile (clock); error: prediction x clock over measured median"
    )


def _library() -> str:
    """Of the sparse operators, so that one file never mixes two builds of them."""
    try:
        return file_sha256(library_path())
    except TrimfitError as error:
        return f"missing: {error}"


def _code(*folders: Path) -> str:
    """Of all Python files: predictions of two versions are not mixed."""
    digest = hashlib.sha256()
    for folder in folders:
        for file in sorted(folder.rglob("*.py")):
            digest.update(file.relative_to(folder).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
