"""Where the operator library for a machine is."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

from benchmarks.errors import TrimfitError

__all__ = ["library_path"]

_MACHINES = {"x86_64": "x86_64", "amd64": "x86_64", "x64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}


def library_path(machine: str | None = None, system: str | None = None) -> Path:
    """The library to give to `SessionOptions.register_custom_ops_library`, or to send to a device.

    `machine` and `system` are what `uname -m` and `uname -s` say there ("x86_64", "aarch64"; "Linux", "Android"); None:
    this machine's. Raises TrimfitError for a machine that none is made for, or when it has not been built.
    """
    # here, so that importing the package does not import what `python -m` runs
    from hardware_profiles.runtimes.sparse.build import LIBRARIES, TARGETS, library_name

    machine = machine or platform.machine()
    system = system or _this_system()
    target = f"{_MACHINES.get(machine.lower(), machine.lower())}-{system.lower()}"
    if target not in TARGETS:
        raise TrimfitError(
            f"got {system} on {machine}, expected one of {', '.join(TARGETS)}:"
            " use another runtime than onnxruntime-cpu+sparse"
        )
    path = LIBRARIES / library_name(target)
    if not path.is_file():
        raise TrimfitError(
            f"got no {path}, expected it to be made when trimfit is installed:"
            " run `pip install ziglang && python -m hardware_profiles.runtimes.sparse.build`"
        )
    return path


def _this_system() -> str:
    # Python before 3.13 says Linux on Android
    return "Android" if hasattr(sys, "getandroidapilevel") else platform.system()
