"""LocalPlace: this machine as a place where models are timed."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.affinity import choose_cpus
from benchmarks.environment import Environment, cpu_flags, read_environment
from benchmarks.process import LocalProcess
from benchmarks.provenance import Provenance
from benchmarks.rig import LocalRig

__all__ = ["WORKER", "LocalPlace"]

WORKER = Path(__file__).parent / "worker" / "__main__.py"


class LocalPlace:
    """Files are where they are, and the worker is a process of this machine. See Place."""

    name = "local"
    is_here = True
    counts_starts = True
    provenance: Provenance = "measured_device"

    @property
    def isa(self) -> tuple[str, ...]:
        """See Place."""
        return cpu_flags()

    @property
    def machine(self) -> str:
        """See Place."""
        return platform.machine()

    @property
    def system(self) -> str:
        """See Place."""
        # Python before 3.13 says Linux on Android
        return "Android" if hasattr(sys, "getandroidapilevel") else platform.system()

    @property
    def cores(self) -> int:
        """See Place."""
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    def free_memory(self) -> int:
        """See Place."""
        return int(psutil.virtual_memory().available)

    def file(self, path: Path) -> str:
        """See Place."""
        return str(path)

    def scratch(self, target: Path) -> str:
        """See Place. It is made where it is wanted."""
        return str(target)

    def fetch(self, name: str, target: Path) -> None:
        """See Place. It is here already."""

    def start(self, job: Mapping[str, Any], *, python: Path | None, env: Mapping[str, str]) -> LocalProcess:
        """See Place."""
        return LocalProcess([str(python or sys.executable), str(WORKER), json.dumps(job, default=str)], env)

    def rig(self) -> LocalRig:
        """See Place."""
        return LocalRig()

    def cpus(self, threads: int, rng: np.random.Generator) -> tuple[int, ...]:
        """See Place."""
        return choose_cpus(threads, rng)

    def rest(self) -> None:
        """Not here: what is wrong with this machine is said beside the numbers."""

    def environment(self) -> Environment:
        """See Place."""
        return read_environment()

    def finished(self, environment: Environment, worked: float | None) -> Environment:
        """See Place. This machine's system knows itself what the processes that it started used."""
        return environment.finished()
