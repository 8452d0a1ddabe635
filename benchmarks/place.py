"""Place: where models are timed. It is this machine unless another one is put in force."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from benchmarks.environment import Environment
from benchmarks.local_place import LocalPlace
from benchmarks.process import Process
from benchmarks.provenance import Provenance
from benchmarks.rig import Rig

__all__ = ["Place", "current_place", "in_force"]


class Place(Protocol):
    """A machine that the worker can be started on, and what must be known of it to do so."""

    @property
    def name(self) -> str:
        """As on the command line: "local", "ssh://pi@host"."""
        ...

    @property
    def is_here(self) -> bool:
        """Whether it is this machine."""
        ...

    @property
    def counts_starts(self) -> bool:
        """Whether the time limit of a run counts the starts of processes: not where they take longer than the calls."""
        ...

    @property
    def provenance(self) -> Provenance:
        """Of what is measured there; in an emulator, "emulated_functional", no time is kept."""
        ...

    @property
    def isa(self) -> tuple[str, ...]:
        """The flags of its CPU, as its kernel writes them."""
        ...

    @property
    def machine(self) -> str:
        """What `uname -m` says there, e.g. "aarch64"."""
        ...

    @property
    def system(self) -> str:
        """What `uname -s` says there; "Android" on a phone."""
        ...

    @property
    def cores(self) -> int:
        """CPUs that a process may use there."""
        ...

    def __hash__(self) -> int: ...

    def free_memory(self) -> int:
        """Bytes that are available there now."""
        ...

    def file(self, path: Path) -> str:
        """Have a file of this machine there; its name there."""
        ...

    def scratch(self, target: Path) -> str:
        """The name there of a file that will be made there, to be fetched into `target`."""
        ...

    def fetch(self, name: str, target: Path) -> None:
        """Have a file here that was made there under the name that `scratch` gave it."""
        ...

    def start(self, job: Mapping[str, Any], *, python: Path | None, env: Mapping[str, str]) -> Process:
        """Start the worker with a job, in which all names are of files there.

        `python` is another interpreter than the place's own, `env` variables beside those that a process has there.
        """
        ...

    def rig(self) -> Rig:
        """An empty rig there."""
        ...

    def cpus(self, threads: int, rng: np.random.Generator) -> tuple[int, ...]:
        """The CPUs to pin so many threads to, see `choose_cpus`."""
        ...

    def rest(self) -> None:
        """Wait until the machine is cool enough to be timed."""
        ...

    def environment(self) -> Environment:
        """Its facts and its present state."""
        ...

    def finished(self, environment: Environment, worked: float | None) -> Environment:
        """The same with its present state as `after`; `worked`: the workers' CPU seconds meanwhile, if known."""
        ...


_HERE = LocalPlace()
_CURRENT: ContextVar[Place] = ContextVar("place", default=_HERE)


def current_place() -> Place:
    """The place in force."""
    return _CURRENT.get()


@contextmanager
def in_force(place: Place) -> Iterator[None]:
    """Within it, whatever is timed is timed at this place."""
    token = _CURRENT.set(place)
    try:
        yield
    finally:
        _CURRENT.reset(token)
