"""Virtual environments for engines whose dependencies clash: made once, kept in the cache folder."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.errors import TrimfitError

__all__ = ["environment"]

COMPLETE = "complete"


def environment(name: str, requirements: tuple[str, ...], python: str | None = None) -> Path:
    """The interpreter of an environment with `requirements`, made when there is none yet.

    Args:
        name: of the engine, part of the folder's name.
        requirements: as pip takes them.
        python: a version such as "3.11" where the engine needs one; the running one otherwise.

    Raises:
        TrimfitError: there is no such Python, or pip cannot install the requirements.
    """
    digest = hashlib.sha256(repr((requirements, python, sys.version)).encode()).hexdigest()[:12]
    folder = _cache() / f"{name}-{digest}"
    interpreter = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if (folder / COMPLETE).exists():
        return interpreter
    shutil.rmtree(folder, ignore_errors=True)
    _run(name, [_python(name, python), "-m", "venv", str(folder)])
    _run(name, [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements])
    (folder / COMPLETE).touch()
    return interpreter


def _cache() -> Path:
    root = os.environ.get("TRIMFIT_CACHE") or Path.home() / ".cache" / "trimfit"
    return Path(root) / "engines"


def _python(name: str, version: str | None) -> str:
    if version is None or sys.version.startswith(f"{version}."):
        return sys.executable
    found = shutil.which(f"python{version}")
    if found is None:
        raise TrimfitError(f"got no Python {version}, which {name} needs: install it to include this engine")
    return found


def _run(name: str, command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["nothing"]
        raise TrimfitError(f"the environment of {name} could not be made: {said[-1]}: check the network and try again")
