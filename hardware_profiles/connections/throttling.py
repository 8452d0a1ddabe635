"""Throttling: whether a device runs slower than it could because it is hot or lacks power, and how to wait for it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator

from hardware_profiles.connections.device_state import DeviceState

__all__ = ["cool_down", "hot", "slowed_down", "throttled"]

CLOCK_DROP = 0.05  # share by which a clock that should stand still may be lower afterwards
FIXED_GOVERNORS = ("performance", "userspace")  # the others lower the clock of a device that rests
COOLING_SECONDS = 300.0
LOOK_SECONDS = 10.0

_ABOUT_CPUS = re.compile(r"cpu|soc|core|cluster|apss|big|little|mid|x86|acpitz", re.IGNORECASE)
_SLOWS_CPUS = re.compile(r"cpu|^processor$", re.IGNORECASE)

# bits of `vcgencmd get_throttled`; 16 higher: it has happened since boot
# (https://www.raspberrypi.com/documentation/computers/os.html#get_throttled)
_FIRMWARE = {
    0: "its supply's voltage is too low: use a stronger one",
    1: "its firmware caps the clock: let it cool, or use a stronger supply",
    2: "its firmware throttles it: let it cool or give it a fan",
    3: "its firmware's soft temperature limit is reached: let it cool or give it a fan",
}
_LOW_VOLTAGE, _CAPPED = 1 << 0, 1 << 1
_SINCE_BOOT = 16


def slowed_down(state: DeviceState) -> list[str]:
    """What slows the CPUs down at this moment, in sentences with a remedy; empty where nothing is known to."""
    return [*_zones_over_trip(state), *_cooling_in_use(state), *_firmware(state.firmware_throttled or 0)]


def hot(state: DeviceState) -> list[str]:
    """What of it may pass while the device rests: all but a weak supply, which caps the clock as well."""
    bits = state.firmware_throttled or 0
    if bits & _LOW_VOLTAGE:
        bits &= ~(_LOW_VOLTAGE | _CAPPED)
    return [*_zones_over_trip(state), *_cooling_in_use(state), *_firmware(bits)]


def throttled(before: DeviceState, after: DeviceState) -> list[str]:
    """Why what was measured between the two is too slow, in sentences with a remedy; empty where nothing shows it.

    A clock that is lower afterwards counts only where the governor keeps it still; a lower *allowed* clock always.
    """
    return [*slowed_down(after), *_lower_clocks(before, after), *_events(before, after)]


def cool_down(
    read: Callable[[], DeviceState],
    seconds: float = COOLING_SECONDS,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[float, list[str]]:
    """Wait until the device is not `hot`, at most `seconds`; for how long that was, and what is left of the reasons.

    `read` reads the device's state; it is called every 10 s.
    """
    waited = 0.0
    while (reasons := hot(read())) and waited < seconds:
        sleep(LOOK_SECONDS)
        waited += LOOK_SECONDS
    return waited, reasons


def _zones_over_trip(state: DeviceState) -> Iterator[str]:
    """Zones of batteries, screens and radios are left out: their trips say nothing of the CPUs."""
    for zone in state.zones:
        if zone.trip_celsius is not None and zone.celsius >= zone.trip_celsius and _ABOUT_CPUS.search(zone.name):
            yield (
                f"{zone.name} is at {zone.celsius:.0f} °C (throttles from {zone.trip_celsius:.0f} °C): let it cool or"
                " give it a fan"
            )


def _cooling_in_use(state: DeviceState) -> Iterator[str]:
    for means in state.cooling:
        if means.state > 0 and _SLOWS_CPUS.search(means.name):
            yield f"{means.name} is slowed down, step {means.state} of {means.max_state}: let it cool or give it a fan"


def _firmware(bits: int) -> Iterator[str]:
    yield from (words for bit, words in _FIRMWARE.items() if bits >> bit & 1)


def _lower_clocks(before: DeviceState, after: DeviceState) -> Iterator[str]:
    earlier = {cpu.number: cpu for cpu in before.cpus}
    for cpu in after.cpus:
        was = earlier.get(cpu.number)
        if was is None:
            continue
        if was.limit_mhz and cpu.limit_mhz and cpu.limit_mhz < was.limit_mhz:
            yield (
                f"CPU {cpu.number} is allowed {cpu.limit_mhz:.0f} MHz and was allowed {was.limit_mhz:.0f}: let it cool,"
                " then measure again"
            )
        elif was.mhz and cpu.mhz and cpu.governor in FIXED_GOVERNORS and cpu.mhz < was.mhz * (1 - CLOCK_DROP):
            yield f"CPU {cpu.number} fell from {was.mhz:.0f} to {cpu.mhz:.0f} MHz: let it cool, then measure again"


def _events(before: DeviceState, after: DeviceState) -> Iterator[str]:
    if before.throttles is not None and after.throttles is not None and after.throttles > before.throttles:
        yield f"{after.throttles - before.throttles} throttling events: let it cool, then measure again"
    now = after.firmware_throttled or 0
    new = (now & ~(before.firmware_throttled or 0)) >> _SINCE_BOOT
    yield from (f"in between, {words}" for words in _firmware(new & ~now))
