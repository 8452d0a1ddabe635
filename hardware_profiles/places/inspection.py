"""Inspection: what is there on a device that models are to be timed on, what is missing, and how to install it."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import onnxruntime

from benchmarks.errors import TrimfitError
from hardware_profiles.connections import Connection
from hardware_profiles.runtimes.sparse.library import library_path

__all__ = ["PYTHON_VARIABLE", "Inspection", "Missing", "inspect"]

PYTHON_VARIABLE = "TRIMFIT_DEVICE_PYTHON"
"""Here: the interpreter to use there, if not one of those that are looked for."""
LEAST_PYTHON = (3, 10)
LEAST_FREE_BYTES = 500 << 20  # several copies of a model, its rivals and the inputs
VENV = "~/.trimfit"  # looked into first: systems do not let pip into their own Python
_SYSTEMS = ("Linux", "Android")

# no `command -v` for timeout and sha256sum: the connection has refused a device without them, in one line
_PROBE = """
echo "machine=$(uname -m)"
[ -e /system/bin/linker64 ] && [ -e /system/build.prop ] && echo system=Android || echo "system=$(uname -s)"
echo "free=$(df -Pk . | tail -n 1)"
for tool in timeout sha256sum; do echo "$tool=$(command -v $tool)"; done
look_for() {
    ask=$1; shift
    for python; do
        told=$("$python" -c "$ask" 2>/dev/null) && { echo "python=$python"; echo "told=$told"; break; }
    done
}
if [ -n "$1" ]; then
    look_for "$2" "$1"
else
    look_for "$2" "$HOME/.trimfit/bin/python3" /data/local/tmp/.trimfit/bin/python3 python3
fi
"""
_ASK_PYTHON = """
import json, sys
from importlib import metadata
def version(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
found = {name: version(name) for name in ("numpy", "onnxruntime")}
print(json.dumps({"python": list(sys.version_info[:3]), **found}))
"""


@dataclass(frozen=True)
class Missing:
    """Something that is not there: what was found, what was expected, and the command that installs it."""

    found: str
    expected: str
    remedy: str

    def __str__(self) -> str:
        """E.g. "got no onnxruntime, expected 1.32.0: ssh pi@host '...'"."""
        return f"got {self.found}, expected {self.expected}: {self.remedy}"


@dataclass(frozen=True)
class Inspection:
    """What a device answered. `python` is the interpreter to use there, with its version and those of its packages."""

    name: str
    machine: str
    system: str
    free_bytes: int
    tools: Mapping[str, str]
    python: str | None = None
    python_version: tuple[int, ...] = ()
    numpy: str | None = None
    onnxruntime: str | None = None
    asked: str = ""
    """The interpreter that PYTHON_VARIABLE names: no other is looked for."""

    @property
    def missing(self) -> tuple[Missing, ...]:
        """What keeps models from being timed there; empty where nothing does."""
        return tuple(self._missing())

    @property
    def operators(self) -> str:
        """The library of sparse operators for it, or why there is none; it can do without."""
        try:
            return library_path(self.machine, self.system).name
        except TrimfitError as error:
            return str(error)

    def check(self) -> None:
        """Raise TrimfitError with the first thing that is missing."""
        for missing in self.missing:
            raise TrimfitError(f"on {self.name} {missing}")

    def _missing(self) -> Iterator[Missing]:
        if self.system not in _SYSTEMS:
            yield Missing(f"a device with {self.system}", " or ".join(_SYSTEMS), "use another device")
            return
        if self.free_bytes < LEAST_FREE_BYTES:
            free, least = f"{self.free_bytes >> 20} MB of free disk", f"at least {LEAST_FREE_BYTES >> 20}"
            yield Missing(free, least, "free some, or set TMPDIR there to a folder with room")
        wanted = onnxruntime.__version__
        if self.python is None and self.asked:
            remedy = f"name one that runs there with {PYTHON_VARIABLE}, or unset it"
            yield Missing(f"no Python that runs at {self.asked}", "an interpreter there", remedy)
        elif self.python is None or self.python_version < LEAST_PYTHON:
            known = f"Python {'.'.join(map(str, self.python_version))}" if self.python else "no python3"
            yield Missing(known, f"{'.'.join(map(str, LEAST_PYTHON))} or later", self._on_device(self._install_python))
        elif self.onnxruntime is None or self.numpy is None:
            lacks = " and no ".join(name for name in ("numpy", "onnxruntime") if getattr(self, name) is None)
            yield Missing(f"no {lacks} in {self.python}", f"numpy and onnxruntime {wanted}", self._install)
        elif self.onnxruntime != wanted:
            expected = f"{wanted}, with which models are made and scored here"
            yield Missing(f"onnxruntime {self.onnxruntime} in {self.python}", expected, self._install)

    @property
    def _install_python(self) -> str:
        return "sudo apt-get install -y python3 python3-venv"

    @property
    def _install(self) -> str:
        if self.system == "Android":
            return "`trimfit device bundle` makes a Python for it"
        packages = f"numpy onnxruntime=={onnxruntime.__version__}"
        return self._on_device(f"python3 -m venv {VENV} && {VENV}/bin/pip install {packages}")

    def _on_device(self, command: str) -> str:
        if self.system == "Android":
            return "`trimfit device bundle` makes one for it"
        kind, _, where = self.name.partition("://")
        if kind == "adb":
            return f"adb{f' -s {where}' if where else ''} shell {shlex.quote(command)}"
        host, _, port = where.rpartition(":")
        target = f"-p {port} {host}" if host and port.isdigit() else where
        target = target.replace("[", "").replace("]", "")  # of an address in IPv6, which URLs need and ssh refuses
        return f"ssh {target} {shlex.quote(command)}" if kind == "ssh" else command


def inspect(connection: Connection) -> Inspection:
    """Look at a device, in one command. Raises DeviceUnreachableError where there is no way in, or no `timeout`."""
    asked = os.environ.get(PYTHON_VARIABLE, "")
    with connection.folder() as folder:  # whose disk is the one that fills up
        done = connection.run(["sh", "-c", _PROBE, "sh", asked, _ASK_PYTHON], seconds=60, folder=folder)
    lines = (line.partition("=") for line in done.stdout.splitlines())
    told = {key: value for key, _, value in lines}
    python = json.loads(told["told"]) if told.get("told") else {}
    return Inspection(
        name=connection.name,
        machine=told.get("machine", ""),
        system=told.get("system", ""),
        free_bytes=_free_bytes(told.get("free", "")),
        tools={tool: told.get(tool, "") for tool in ("timeout", "sha256sum")},
        python=told.get("python"),
        python_version=tuple(python.get("python", ())),
        numpy=python.get("numpy"),
        onnxruntime=python.get("onnxruntime"),
        asked=asked,
    )


def _free_bytes(line: str) -> int:
    """Of the last line of `df -Pk`: file system, size, used, available (kB), ..."""
    fields = line.split()
    return 1024 * int(fields[3]) if len(fields) > 3 and fields[3].isdigit() else 0
