"""RemotePlace: a device behind a connection as a place where models are timed."""

from __future__ import annotations

import json
import time
import warnings
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from benchmarks.affinity import pick
from benchmarks.environment import Environment
from benchmarks.errors import TrimfitError, TrimfitWarning
from benchmarks.local_place import WORKER
from benchmarks.provenance import EMULATED, Provenance
from hardware_profiles.connections import Connection
from hardware_profiles.connections.device_facts import DeviceFacts, read_facts
from hardware_profiles.connections.device_state import device_state, read_device_state
from hardware_profiles.connections.throttling import COOLING_SECONDS, cool_down, throttled
from hardware_profiles.device import described
from hardware_profiles.isa import cpu_name
from hardware_profiles.places.remote_environment import (
    ProcessorTimes,
    environment_from,
    read_limits,
    read_processor_times,
    state_from,
)
from hardware_profiles.places.remote_files import RemoteFiles
from hardware_profiles.places.remote_process import RemoteProcess
from hardware_profiles.places.remote_rig import RemoteRig

__all__ = ["RemotePlace"]

_LIFETIME = 6 * 3600.0  # seconds that a worker may run at most
_DESCRIBING = 120.0
_WATCH_SECONDS = 0.05  # for which the load of the CPUs is looked at
# from 1.29 on onnxruntime keeps and sends events, from a database in the home folder: nothing of us stays on a device
_SILENT = {"ORT_DISABLE_TELEMETRY": "1"}
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # threads that wait for busy cores look emulated


class RemotePlace:
    """Files are sent into a working folder there, which is removed afterwards. See Place. Use as a context manager.

    Args:
        connection: to the device.
        python: the interpreter there that has numpy and onnxruntime.
        emulated: what runs there is an emulator: it is tried, and no time is kept.

    Raises TrimfitError for an emulator that is not said to be one, and for a worker that does not start.
    """

    is_here = False
    counts_starts = False

    def __init__(self, connection: Connection, python: str, *, emulated: bool = False) -> None:
        self.connection, self.python = connection, python
        self.provenance: Provenance = "emulated_functional" if emulated else "measured_device"
        self._cools = True
        self._stack = ExitStack()
        try:
            self._meet()
        except BaseException:
            self._stack.close()
            raise

    def _meet(self) -> None:
        """Learn what it is. Raises as the constructor."""
        connection = self.connection
        self.files = self._fresh_folder()
        self.told = self._describe()
        if (doubt := self.told["not_a_device"]) and self.provenance != EMULATED:
            raise TrimfitError(
                f"got {self.name}, which is {doubt}: an emulator, whose times mean nothing; expected a device"
            )
        # as the runtime sees it: an emulator of programs shows them another CPU than the shell's
        facts = {**read_facts(connection), "/proc/cpuinfo": self.told["cpuinfo"]}
        self._state = self._before = device_state(facts)
        self._environment = environment_from(self.told, facts, self._state, read_limits(connection))
        every = Counter(cpu.kind for cpu in self._state.cpus if cpu.kind)
        self.device = described(
            self._environment,
            self,
            name=cpu_name(self._environment.cpu, dict(sorted(every.items())), _board(facts)),
            core_kinds=self._state.core_kinds,
            caches=(self._state.caches, self._state.shared_caches),
            page_bytes=self.told["page_bytes"],
        )

    def __enter__(self) -> RemotePlace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    # -- what it is -----------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """See Place."""
        return self.connection.name

    @property
    def isa(self) -> tuple[str, ...]:
        """See Place."""
        return self._environment.isa

    @property
    def machine(self) -> str:
        """See Place."""
        return str(self.told["machine"])

    @property
    def system(self) -> str:
        """See Place."""
        return str(self.told["system"])

    @property
    def cores(self) -> int:
        """See Place."""
        return len(self._state.allowed)

    # -- what runs there ------------------------------------------------------------------------------------

    def file(self, path: Path) -> str:
        """See Place."""
        return self.files.send(path)

    def scratch(self, target: Path) -> str:
        """See Place."""
        return f"{self.files.folder}/made-{target.name}"

    def fetch(self, name: str, target: Path) -> None:
        """See Place."""
        self.connection.pull(name, target)

    def start(
        self, job: Mapping[str, Any], *, python: Path | None = None, env: Mapping[str, str] | None = None
    ) -> RemoteProcess:
        """See Place."""
        if python is not None:
            raise TrimfitError(f"got {python} to run in on {self.name}, expected its own Python: leave it out")
        command = [self.python, self.file(WORKER), json.dumps(job, default=str)]
        own = {**_SILENT, **(env or {})}
        running = self.connection.start(command, seconds=_LIFETIME, folder=self.files.folder, env=own)
        return RemoteProcess(running)

    def rig(self) -> RemoteRig:
        """See Place."""
        return RemoteRig(self)

    # -- its state ------------------------------------------------------------------------------------------

    def free_memory(self) -> int:
        """See Place."""
        return read_device_state(self.connection).available_bytes

    def cpus(self, threads: int, rng: np.random.Generator) -> tuple[int, ...]:
        """See Place."""
        cpus = [cpu for cpu in self._state.cpus if cpu.number in self._state.allowed]
        if threads >= len(cpus):
            return self._state.allowed
        before = read_processor_times(self.connection)
        time.sleep(_WATCH_SECONDS)
        after = read_processor_times(self.connection)
        return pick(
            threads,
            load={cpu.number: _busy(after, cpu.number) - _busy(before, cpu.number) for cpu in cpus},
            siblings={cpu.number: cpu.siblings or (cpu.number,) for cpu in cpus},
            speed={cpu.number: cpu.speed for cpu in cpus},
            rng=rng,
        )

    def rest(self) -> None:
        """Wait until the device is no longer slowed down by heat, five minutes at most.

        Where that did not help it is said, and not waited for again before the device was cool. What slows it down even
        then is found in the state after the measurement. A working folder that went with a link that was lost is made
        anew.
        """
        limit = COOLING_SECONDS if self._cools else 0.0
        waited, reasons = cool_down(lambda: read_device_state(self.connection), limit)
        if reasons and waited:
            text = f"{self.name} is no faster after {waited / 60:.0f} minutes of rest, measuring it so: {reasons[0]}"
            warnings.warn(text, TrimfitWarning, stacklevel=2)
        self._cools = not reasons
        if self.connection.run(["test", "-d", self.files.folder]).exit_code:
            self.files = self._fresh_folder()

    def environment(self) -> Environment:
        """See Place."""
        self._before = read_device_state(self.connection)
        times = read_processor_times(self.connection)
        return self._environment.model_copy(update={"before": state_from(self._before, times, 0.0)})

    def finished(self, environment: Environment, worked: float | None) -> Environment:
        """See Place."""
        after = read_device_state(self.connection)
        times = read_processor_times(self.connection)
        slowed = tuple(throttled(self._before, after))
        told = None if self.provenance == EMULATED else worked
        return environment.model_copy(update={"after": state_from(after, times, told, slowed)})

    # -- how that is known ----------------------------------------------------------------------------------

    def _fresh_folder(self) -> RemoteFiles:
        return RemoteFiles(self.connection, self._stack.enter_context(self.connection.folder()))

    def _describe(self) -> Mapping[str, Any]:
        command = [self.python, self.file(WORKER), json.dumps({"describe": {}})]
        done = self.connection.run(
            command, seconds=_DESCRIBING, folder=self.files.folder, env={**_SILENT, **_ONE_THREAD}
        )
        lines = done.stdout.strip().splitlines()
        answer: dict[str, Any] = json.loads(lines[-1]) if lines else {"error": _last(done.stderr)}
        if "error" in answer:
            raise TrimfitError(
                f"got {answer['error']} from {self.python} on {self.name}, expected numpy and onnxruntime to work"
                f" there: `trimfit device check {self.name}` says what to install"
            )
        return dict(answer["ok"])


def _board(facts: DeviceFacts) -> str:
    """What the phone or board is called; empty where it has no name."""
    names = (facts.get(key, "").strip() for key in ("getprop ro.product.model", "/proc/device-tree/model"))
    return next(filter(None, names), "")


def _busy(times: ProcessorTimes, cpu: int) -> float:
    """Seconds since boot that one CPU was busy."""
    return sum(times.get(f"cpu{cpu}", [])[:3])


def _last(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "no answer")
