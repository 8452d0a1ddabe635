"""What a machine is and does, from what its files say; and the same of this machine through every connection."""

from __future__ import annotations

import os
import platform

import numpy as np
import pytest
from made_devices import phone, pi4, x86

from benchmarks.errors import DeviceUnreachableError
from hardware_profiles.caches import read_caches
from hardware_profiles.connections import Completed, Connection
from hardware_profiles.connections.device_facts import parse_facts, read_facts
from hardware_profiles.connections.device_state import device_state, read_device_state
from hardware_profiles.core_kinds import in_words, read_core_kinds


def test_a_raspberry_pi_4_is_known_for_what_it_is():
    state = device_state(pi4())
    assert state.name == "Raspberry Pi 4 Model B Rev 1.4"
    assert state.system == "Debian GNU/Linux 12 (bookworm), Linux 6.6.31+rpt-rpi-v8"
    assert (state.machine, in_words(state.core_kinds)) == ("aarch64", "Cortex-A72")
    assert state.core_kinds == {"ARM 0x41/0xd08 r0p3": 4}
    assert (state.caches, state.shared_caches) == ({"L2": 1 << 20}, {"L2": 4})
    assert (state.memory_bytes, state.disk_free_bytes, state.page_bytes) == (3884356 << 10, 24164256 << 10, 4096)
    assert "asimddp" in state.flags
    assert state.load == 0.08
    cpu = state.cpus[3]
    assert (cpu.number, cpu.midr, cpu.governor) == (3, "0x00000000410fd083", "ondemand")
    assert (cpu.mhz, cpu.limit_mhz, cpu.max_mhz) == (600, 1800, 1800)
    assert [(z.name, z.celsius, z.trip_celsius) for z in state.zones] == [("cpu-thermal", 48.686, 110)]
    assert state.firmware_throttled == 0


def test_of_a_phone_the_big_cores_that_may_be_used_are_chosen():
    state = device_state(phone())
    rng = np.random.default_rng(0)
    assert state.name == "Pixel 7"
    assert state.system == "Android 14, Linux 5.10.157-android13-4"
    assert in_words(state.core_kinds) == "4 x Cortex-A55 + 2 x Cortex-A78 + 1 x Cortex-X1"
    assert state.fastest == (6,)
    assert state.choose_cpus(1, rng) == (6,)
    assert state.choose_cpus(3, rng) == (4, 5, 6)
    assert state.choose_cpus(99, rng) == (0, 1, 2, 3, 4, 5, 6)


def test_sensors_that_are_off_and_trips_of_fans_do_not_count():
    zones = device_state(phone()).zones
    assert [(z.name, z.trip_celsius) for z in zones] == [("BIG", 65), ("battery", 30)]


def test_two_threads_of_one_x86_core_are_one_core():
    state = device_state(x86(throttles=3))
    assert state.name == "AMD EPYC"
    assert in_words(state.core_kinds) == "Zen 5"
    assert [cpu.siblings for cpu in state.cpus] == [(0, 1), (0, 1)]
    assert state.fastest == (0, 1)
    assert len(state.choose_cpus(1, np.random.default_rng(0))) == 1
    assert state.throttles == 3
    assert (state.zones, state.cpus[0].midr, state.disk_free_bytes) == ((), None, None)


def test_where_capacities_are_missing_the_highest_clock_decides():
    facts = {path: text for path, text in phone().items() if not path.endswith("cpu_capacity")}
    assert device_state(facts).fastest == (6,)


@pytest.mark.parametrize("text", ["", "?", "a-b", "none"])
def test_what_cannot_be_understood_is_left_out(text: str):
    state = device_state(dict.fromkeys(pi4(), text) | {"/proc/cpuinfo": pi4()["/proc/cpuinfo"]})
    assert [cpu.number for cpu in state.cpus] == [0, 1, 2, 3]
    assert (state.memory_bytes, state.zones, state.page_bytes) == (0, (), None)


def test_files_and_outputs_are_told_apart():
    printed = (
        "/proc/cpuinfo:processor\t: 0\n/proc/cpuinfo:\n/proc/cpuinfo:processor\t: 1\n"
        "/proc/device-tree/model:A board\0\n"
        "trimfit-output:uname -s\nLinux\ntrimfit-output:cat /sys/a:b\n50005\n"
    )
    assert parse_facts(printed) == {
        "/proc/cpuinfo": "processor\t: 0\n\nprocessor\t: 1",
        "/proc/device-tree/model": "A board",
        "uname -s": "Linux\n",
        "/sys/a:b": "50005\n",
    }


def test_this_machine_is_the_same_through_every_connection(connection: Connection):
    state = read_device_state(connection, "/")
    allowed = tuple(sorted(os.sched_getaffinity(0)))
    assert state.allowed == allowed
    assert state.machine == platform.machine()
    assert state.core_kinds == read_core_kinds(allowed)
    assert (state.caches, state.shared_caches) == read_caches(allowed)
    assert state.page_bytes == os.sysconf("SC_PAGESIZE")
    assert state.disk_free_bytes
    assert all(cpu.siblings for cpu in state.cpus)


def test_a_system_without_proc_is_refused():
    class Mac:
        name = "ssh://mac"

        def run(self, command: list[str], **_: object) -> Completed:
            return Completed(0, "trimfit-output:uname -s\nDarwin\n", "")

    with pytest.raises(DeviceUnreachableError, match=r"^got Darwin on ssh://mac, expected Linux or Android .*$"):
        read_facts(Mac())
