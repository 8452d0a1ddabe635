"""A device's environment and state, from what is read of it; the device, as it would describe itself."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.control_group import ControlGroup
from benchmarks.errors import TrimfitWarning
from hardware_profiles.connections.device_facts import caches_of
from hardware_profiles.connections.device_state import Cooling, Cpu, DeviceState, ThermalZone
from hardware_profiles.connections.throttling import COOLING_SECONDS, cool_down
from hardware_profiles.device import described
from hardware_profiles.places import remote_place
from hardware_profiles.places.remote_environment import environment_from, read_limits, read_processor_times, state_from
from hardware_profiles.places.remote_place import RemotePlace

CPUINFO = "processor\t: 0\nFeatures\t: fp asimd asimddp\nCPU implementer\t: 0x41\nCPU part\t: 0xd0b\n"
TOLD = {
    "machine": "aarch64", "system": "Linux", "release": "6.6", "python": "3.11.2", "onnxruntime": "1.32.0",
    "numpy": "2.4.6",
}  # fmt: skip
STATE = DeviceState(
    name="A board",
    machine="aarch64",
    system="Linux 6.6",
    cpus=tuple(Cpu(number=n, capacity=400 if n < 4 else 1024, mhz=1000 if n < 4 else 2000) for n in range(8)),
    allowed=tuple(range(8)),
    core_kinds={"ARM 0x41/0xd05 r1p0": 4, "ARM 0x41/0xd0b r1p0": 4},
    caches={"L2": 512 << 10},
    shared_caches={"L2": 1},
    memory_bytes=4 << 30,
    load=1.5,
    zones=(ThermalZone(name="cpu", celsius=55.5), ThermalZone(name="battery", celsius=41.0)),
)
TIMES = {"cpu": [1.0, 0.2, 0.3, 99.0, 0, 0, 0, 0.4], "cpu0": [1.0, 0.2, 0.3]}


class Far:
    """A connection on which commands answer what they are told to."""

    name = "ssh://board"

    def __init__(self, **answers: str) -> None:
        self.answers = answers

    def run(self, command, **given):
        return SimpleNamespace(exit_code=0, stdout=self.answers[command[0]], stderr="")


def test_the_environment_of_a_big_little_device():
    environment = environment_from(TOLD, {"/proc/cpuinfo": CPUINFO}, STATE, ControlGroup(cpus=2.5))
    assert environment.cpu == "aarch64 implementer 0x41 part 0xd0b"
    assert (environment.cores, environment.threads_per_core) == (8, 1)
    assert environment.isa == ("asimd", "asimddp", "fp")
    assert environment.container_cpus == 2.5
    assert environment.affinity == tuple(range(8))
    assert environment.system == "Linux 6.6 aarch64"


def test_the_governor_is_that_of_the_big_cores():
    cpus = tuple(
        c.model_copy(update={"governor": "performance" if c.capacity == 1024 else "schedutil"}) for c in STATE.cpus
    )
    state = STATE.model_copy(update={"cpus": cpus})
    assert environment_from(TOLD, {}, state, ControlGroup()).governor == "performance"


def test_the_device_is_described_by_it():
    place = SimpleNamespace(machine="aarch64", system="Linux", provenance="measured_device")
    environment = environment_from(TOLD, {"/proc/cpuinfo": CPUINFO}, STATE, ControlGroup(cpus=2.5))
    caches = STATE.caches, STATE.shared_caches
    device = described(environment, place, name="A", core_kinds=STATE.core_kinds, caches=caches, page_bytes=16384)
    assert device.microarchitecture == "4 x Cortex-A55 + 4 x Cortex-A76"
    assert (device.caches, device.shared_caches) == ({"L2": 512 << 10}, {"L2": 1})
    assert (device.isa, device.cores, device.default_threads) == (("asimd", "asimddp"), 8, 2)
    assert (device.memory_bytes, device.page_bytes) == (4 << 30, 16384)


def test_its_state_is_what_changes():
    state = state_from(STATE, TIMES, 1.25, ("a fan is missing: give it one",))
    assert (state.load, state.frequency_mhz) == (1.5, 2000), "that of the big cores"
    assert (state.busy_seconds, state.own_seconds, state.steal_seconds) == (1.5, 1.25, 0.4)
    assert state.temperature_c == 55.5
    assert state.zones_c == {"cpu": 55.5, "battery": 41.0}
    assert state.slowed == ("a fan is missing: give it one",)


def test_a_device_that_tells_nothing_has_nothing_claimed_of_it():
    silent = DeviceState(name="", machine="", system="", cpus=(), allowed=())
    state = state_from(silent, {}, worked=0.0)
    assert (state.load, state.busy_seconds, state.temperature_c, state.frequency_mhz) == (None, None, None, None)


def test_limits_of_control_groups_are_read_up_to_the_root():
    files = "/sys/fs/cgroup/user.slice/cpu.max:250000 100000\n/sys/fs/cgroup/memory.max:max\n"
    assert read_limits(Far(cat="0::/user.slice/session\n", sh=files)) == ControlGroup(cpus=2.5)
    assert read_limits(Far(cat="", sh="")) == ControlGroup()


def test_a_device_cannot_have_files_written_elsewhere(tmp_path):
    evil = tmp_path / "evil"
    told = f"/sys/fs/cgroup/cpu.max:100000 100000\n/../..{evil}:text\n{evil}:text\n"
    assert read_limits(Far(cat="0::/\n", sh=told)) == ControlGroup(cpus=1.0)
    assert read_limits(Far(cat="0::/../../..\n", sh="")) == ControlGroup()
    above = f"../../../../../../../..{evil}"
    told = f"/sys/fs/cgroup/{above}/cpu.max:1 1\n"
    assert read_limits(Far(cat=f"1:{above}:/\n", sh=told)) == ControlGroup()
    caches_of({f"/../../..{evil}/cache/index0/size": "32K", f"/../../..{evil}": "/cache/index"}, [0])
    assert not evil.exists()


def test_processor_times_are_seconds():
    assert read_processor_times(Far(grep="cpu  100 20 30\ncpu7 90 20 30\n")) == {
        "cpu": [1.0, 0.2, 0.3],
        "cpu7": [0.9, 0.2, 0.3],
    }
    assert read_processor_times(Far(grep="")) == {}


def test_threads_are_pinned_to_the_big_cores_that_are_idle(monkeypatch):
    place = object.__new__(RemotePlace)
    place.connection, place._state = Far(), STATE
    times = iter([{f"cpu{n}": [0.0] for n in range(8)}, {f"cpu{n}": [5.0 if n == 4 else 0.0] for n in range(8)}] * 2)
    monkeypatch.setattr(remote_place, "read_processor_times", lambda connection: next(times))
    assert place.cpus(3, np.random.default_rng(0)) == (5, 6, 7)
    assert place.cpus(8, np.random.default_rng(0)) == tuple(range(8))


def test_a_hot_device_is_left_to_cool_before_it_is_timed(monkeypatch):
    place, naps = object.__new__(RemotePlace), []
    place.connection, place.files = Far(test=""), SimpleNamespace(folder="/tmp/work")
    hot = STATE.model_copy(update={"zones": (ThermalZone(name="cpu", celsius=90, trip_celsius=85),)})
    states = iter([hot, hot, STATE])
    monkeypatch.setattr(remote_place, "read_device_state", lambda connection: next(states))
    monkeypatch.setattr(remote_place, "cool_down", lambda read, most: cool_down(read, most, sleep=naps.append))
    place._cools = True
    place.rest()
    assert len(naps) == 2


def test_a_device_that_does_not_cool_down_is_waited_for_once_until_it_was_cool(monkeypatch):
    place, naps = object.__new__(RemotePlace), []
    place.connection, place.files = Far(test=""), SimpleNamespace(folder="/tmp/work")
    capped = STATE.model_copy(update={"cooling": (Cooling(name="cpufreq-cpu0", state=2, max_state=4),)})
    state = capped
    monkeypatch.setattr(remote_place, "read_device_state", lambda connection: state)
    monkeypatch.setattr(remote_place, "cool_down", lambda read, most: cool_down(read, most, sleep=naps.append))
    place._cools = True
    with pytest.warns(TrimfitWarning, match="ssh://board is no faster after 5 minutes of rest, measuring"):
        place.rest()
    assert sum(naps) == COOLING_SECONDS
    place.rest()
    assert sum(naps) == COOLING_SECONDS
    state = STATE
    place.rest()
    state = capped
    with pytest.warns(TrimfitWarning):
        place.rest()
    assert sum(naps) == 2 * COOLING_SECONDS
