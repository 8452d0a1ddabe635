"""EmulatedMachine: Debian's Python and the aarch64 wheel of onnxruntime, run by qemu as one processor or another."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

from benchmarks.errors import TrimfitError
from benchmarks.suites.emulated import worker
from hardware_profiles.profile_cache import cache_folder

__all__ = ["EmulatedMachine"]

FETCH = Path(__file__).parents[3] / ".ci" / "aarch64"
FETCH_SECONDS = 300
RUN_SECONDS = 300


@dataclass(frozen=True)
class EmulatedMachine:
    """What `.ci/aarch64` fetched. What it computes is a device's; how long that takes says nothing of any device."""

    folder: Path

    @classmethod
    def fetched(cls) -> EmulatedMachine:
        """The machine in trimfit's cache, fetched where it is not there yet: half a minute, 240 MB.

        Raises TrimfitError saying why there is none: another system, no apt, no network.
        """
        if platform.system() != "Linux" or platform.machine() != "x86_64":
            raise TrimfitError(f"got {platform.system()} on {platform.machine()}, expected x86-64 Linux to emulate on")
        if not FETCH.is_file():
            raise TrimfitError(
                "got no .ci/aarch64, expected a checkout of trimfit: emulation is no part of the package"
            )
        folder = cache_folder().with_name("aarch64")
        python = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        command = ["bash", str(FETCH), str(folder), version("onnxruntime")]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                env={**os.environ, "PATH": python},
                timeout=FETCH_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise TrimfitError(f"the emulator and its wheels did not come within {FETCH_SECONDS} s") from error
        if done.returncode:
            said = (done.stderr.strip().splitlines() or ["no words"])[-1]
            raise TrimfitError(f"the emulator or its wheels cannot be fetched: {said}")
        return cls(folder)

    @cached_property
    def emulator(self) -> str:
        """Name and version, e.g. "qemu-aarch64 10.0.2"."""
        said = subprocess.run([self.folder / "qemu-aarch64", "--version"], capture_output=True, text=True, check=True)
        name, _, number = said.stdout.split()[:3]
        return f"{name} {number}"

    def answer(
        self, processor: str, models: Path, out: Path, *libraries: Path, environment: Mapping[str, str] | None = None
    ) -> Path:
        """Run every model of a folder on its inputs, as `worker` says, and return `out`, made for that.

        Args:
            processor: as qemu names it, "cortex-a55"; never "max", whose instructions no device has.
            models: NAME.onnx or NAME.ort with NAME.npz beside each.
            out: a folder that is not there yet.
            libraries: of operators, for aarch64.
            environment: variables inside.

        Raises TrimfitError with the last words of a run that failed.
        """
        out.mkdir()
        root = self.folder / "root"
        inside = {
            "PYTHONPATH": str(root / "site"),
            "PYTHONHOME": str(root / "usr"),
            **(environment or {}),
        }
        settings = [part for name, value in inside.items() for part in ("-E", f"{name}={value}")]
        settings += ["-U", "PYTHONDONTWRITEBYTECODE"]  # compiling all of numpy again takes longer than most models
        qemu = [self.folder / "qemu-aarch64", "-L", root, "-cpu", processor, *settings]
        program = [root / "usr/bin/python3.11", worker.__file__, models, out, *libraries]
        command = [str(part) for part in (*qemu, *program)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_SECONDS, check=False)
        if done.returncode:
            said = (done.stderr.strip().splitlines() or ["no words"])[-1]
            raise TrimfitError(f"emulated as {processor}, the worker ended with {done.returncode}: {said}")
        return out
