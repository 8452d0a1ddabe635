"""DeviceFacts: what the files of a Linux or Android machine say of it, read through a connection in one command."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path

from benchmarks.errors import DeviceUnreachableError
from hardware_profiles.caches import read_caches
from hardware_profiles.connections.connection import Connection

__all__ = ["DeviceFacts", "caches_of", "parse_facts", "read_facts"]

_CPU = "/sys/devices/system/cpu/cpu[0-9]*"
_ZONE = "/sys/class/thermal/thermal_zone[0-9]*"
_COOLING = "/sys/class/thermal/cooling_device[0-9]*"
_FILES = (
    "/proc/cpuinfo", "/proc/meminfo", "/proc/self/status", "/proc/loadavg", "/etc/os-release",
    "/proc/device-tree/model", "/sys/devices/cpu_atom/cpus", "/sys/devices/system/cpu/online",
    *(f"{_CPU}/{file}" for file in (
        "cpu_capacity", "regs/identification/midr_el1", "topology/thread_siblings_list",
        "cpufreq/scaling_governor", "cpufreq/scaling_cur_freq", "cpufreq/scaling_max_freq", "cpufreq/cpuinfo_max_freq",
        "thermal_throttle/core_throttle_count",
    )),
    *(f"{_CPU}/cache/index[0-9]*/{file}" for file in ("type", "level", "size", "shared_cpu_list")),
    *(f"{_ZONE}/{file}" for file in ("type", "temp", "trip_point_[0-9]*_type", "trip_point_[0-9]*_temp")),
    *(f"{_COOLING}/{file}" for file in ("type", "cur_state", "max_state")),
)  # fmt: skip
_CACHE_FILE = re.compile(r"/sys/devices/system/cpu/cpu\d+/cache/index\d+/[a-z_]+")
_FIRMWARE = "/sys/devices/platform/soc/soc:firmware/get_throttled"
_COMMANDS = (
    "uname -s", "uname -r", "uname -m", "getconf PAGESIZE", "getprop ro.product.model",
    "getprop ro.build.version.release", "df -Pk .", f"cat {_FIRMWARE}",
)  # fmt: skip
_MARK = "trimfit-output:"
# One process reads all files: one for each of a phone's thousand would warm it up. (The shell's own `read` takes single
# bytes, and some files of /sys give none then.) Of what cannot be read, nothing is said.
_SCRIPT = f"""
grep -aHs '' {" ".join(_FILES)}
for command in {" ".join(f"'{command}'" for command in _COMMANDS)}; do
    text=$($command 2>/dev/null) && printf '{_MARK}%s\\n%s\\n' "$command" "$text"
done
exit 0
"""

DeviceFacts = Mapping[str, str]
"""The text of each file by its path, and the output of each command by its words."""


def read_facts(connection: Connection, folder: str | None = None) -> DeviceFacts:
    """Read them; a fraction of a second there. The free space is that of the disk of `folder`.

    Raises:
        DeviceUnreachableError: no contact, or it is no Linux.
    """
    done = connection.run(["sh", "-c", _SCRIPT], folder=folder, seconds=60)
    facts = parse_facts(done.stdout)
    system = facts.get("uname -s", "").strip()
    if system != "Linux" or "/proc/cpuinfo" not in facts:
        raise DeviceUnreachableError(
            f"got {system or 'no answer to `uname -s`'} on {connection.name}, expected Linux or Android with /proc and"
            " /sys: only their state can be read"
        )
    return facts


def parse_facts(text: str) -> DeviceFacts:
    """The files and outputs in what the script printed."""
    files, *outputs = text.split(_MARK)
    lines: dict[str, list[str]] = {}
    for path, colon, line in (line.partition(":") for line in files.split("\n")):
        if colon:
            lines.setdefault(path, []).append(line.replace("\0", ""))
    facts = {path: "\n".join(content) for path, content in lines.items()}
    for command, _, output in (part.partition("\n") for part in outputs):
        facts[command.removeprefix("cat ")] = output
    return facts


def caches_of(facts: DeviceFacts, allowed: Collection[int]) -> tuple[dict[str, int], dict[str, int]]:
    """The same as `read_caches`, from what was read of another machine."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for path, text in facts.items():
            if _CACHE_FILE.fullmatch(path):  # nothing else that it says of itself becomes a file here
                file = root / path.lstrip("/")
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
        return read_caches(allowed, root / "sys/devices/system/cpu")
