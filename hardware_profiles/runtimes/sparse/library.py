"""Where the operator library for a machine is."""

from __future__ import annotations

from pathlib import Path

from benchmarks.errors import TrimfitError
from benchmarks.local_place import LocalPlace
from benchmarks.place import current_place

__all__ = ["library_here", "library_path"]

_MACHINES = {"x86_64": "x86_64", "amd64": "x86_64", "x64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}


def library_path(machine: str | None = None, system: str | None = None) -> Path:
    """The library to give to `SessionOptions.register_custom_ops_library`, or to send to a device.

    `machine` and `system` are what `uname -m` and `uname -s` say there ("x86_64", "aarch64"; "Linux", "Android"); None:
    what they say at the place in force. Raises TrimfitError for a machine that none is made for, or when it has not
    been built.
    """
    # here, so that importing the package does not import what `python -m` runs
    from hardware_profiles.runtimes.sparse.build import LIBRARIES, TARGETS, library_name

    machine = machine or current_place().machine
    system = system or current_place().system
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


def library_here() -> Path:
    """This machine's library, whatever place is in force: `library_path` of it."""
    here = LocalPlace()
    return library_path(here.machine, here.system)
