"""Energy of an inference, from the processor's own counters (RAPL) where they can be read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from benchmarks.errors import TrimfitError

__all__ = ["Energy", "energy_per_call", "read_counters"]

POWERCAP = Path("/sys/class/powercap")
SECONDS = 1.0  # of calls in a row: the counters advance once a millisecond

Counters = dict[str, tuple[int, int]]


class Energy(BaseModel):
    """Joules of one call, or why they are unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    joules: float | None = None
    """Of the whole processor package, or the whole GPU, while the call runs, its idle power included."""
    reason: str | None = None


def energy_per_call(
    name: str,
    run: Callable[[int], object],
    call_seconds: float,
    folder: Path = POWERCAP,
    read: Callable[[], Counters] | None = None,
) -> Energy:
    """Read the counters around about a second of calls.

    Args:
        name: of the contestant.
        run: makes so many calls in a row.
        call_seconds: how long one takes.
        folder: where the processor's counters are.
        read: reads others instead, such as a GPU's.
    """
    read = read or (lambda: read_counters(folder))
    try:
        before = read()
    except TrimfitError as error:
        return Energy(name=name, reason=str(error))
    calls = max(1, round(SECONDS / call_seconds))
    run(calls)
    return Energy(name=name, joules=joules_between(before, read()) / calls)


def read_counters(folder: Path = POWERCAP) -> Counters:
    """Microjoules so far, and where the counter wraps, of each processor package.

    Raises:
        TrimfitError: there are none or they may not be read.
    """
    counters: Counters = {}
    for zone in sorted(folder.glob("intel-rapl:*")):
        if zone.name.count(":") != 1:
            continue  # cores and memory are parts of their package
        try:
            counters[zone.name] = _number(zone / "energy_uj"), _number(zone / "max_energy_range_uj")
        except PermissionError as error:
            raise TrimfitError(
                "energy unknown: this user may not read the RAPL counters: run as root or open energy_uj to all"
            ) from error
        except (OSError, ValueError):
            continue
    if not counters:
        raise TrimfitError("energy unknown: this machine shows no RAPL counters")
    return counters


def joules_between(before: Mapping[str, tuple[int, int]], after: Mapping[str, tuple[int, int]]) -> float:
    """Joules from one reading to the next; a counter that went down has wrapped once."""
    total = 0
    for zone, (start, wraps) in before.items():
        end = after[zone][0]
        total += end - start if end >= start else end - start + wraps
    return total / 1e6


def _number(path: Path) -> int:
    return int(path.read_text())
