"""A device that runs slower than it could says why, and what to do."""

from __future__ import annotations

from made_devices import phone, pi4, x86

from hardware_profiles.connections.device_state import device_state
from hardware_profiles.connections.throttling import cool_down, hot, slowed_down, throttled


def test_a_cool_device_has_nothing_to_say():
    for facts in (pi4(), phone(), x86()):
        assert hot(device_state(facts)) == []
        assert throttled(device_state(facts), device_state(facts)) == []


def test_a_zone_at_its_trip_is_hot_unless_it_is_the_battery_s():
    assert hot(device_state(phone(big_millidegrees=64_999))) == []
    assert hot(device_state(phone(big_millidegrees=65_000))) == [
        "BIG is at 65 °C (throttles from 65 °C): let it cool or give it a fan"
    ]


def test_a_cpu_that_is_cooled_by_its_clock_is_hot_and_a_gpu_is_not_looked_at():
    assert hot(device_state(phone(big_state=4))) == [
        "thermal-cpufreq-2 is slowed down, step 4 of 15: let it cool or give it a fan"
    ]


def test_a_raspberry_pi_s_firmware_says_what_holds_it_back():
    (power,) = slowed_down(device_state(pi4(firmware="50001")))
    assert "voltage is too low: use a stronger one" in power
    assert hot(device_state(pi4(firmware="50003"))) == [], "no rest betters a weak supply, nor the cap that it causes"
    assert len(hot(device_state(pi4(firmware="20002")))) == 1
    assert len(hot(device_state(pi4(firmware="e0006")))) == 2


def test_what_the_firmware_saw_in_between_counts_and_what_was_long_ago_does_not():
    before, after = device_state(pi4(firmware="10000")), device_state(pi4(firmware="50000"))
    assert throttled(before, after) == ["in between, its firmware throttles it: let it cool or give it a fan"]
    assert throttled(after, after) == []


def test_a_clock_that_is_allowed_less_than_before_is_throttled():
    found = throttled(device_state(phone()), device_state(phone(big_allowed=2000)))
    assert found == [
        f"CPU {n} is allowed 2000 MHz and was allowed 2850: let it cool, then measure again" for n in (6, 7)
    ]


def test_a_lower_clock_counts_only_where_the_governor_keeps_it_still():
    fast, slow = 1800, 1000
    ondemand = [device_state(pi4(now=now)) for now in (fast, slow)]
    fixed = [device_state(pi4(now=now, governor="performance")) for now in (fast, slow)]
    assert throttled(*ondemand) == []
    assert throttled(*fixed) == [
        f"CPU {n} fell from 1800 to 1000 MHz: let it cool, then measure again" for n in range(4)
    ]
    nearly = device_state(pi4(now=1750, governor="performance"))
    assert throttled(fixed[0], nearly) == []


def test_throttling_events_of_x86_are_counted():
    found = throttled(device_state(x86(throttles=2)), device_state(x86(throttles=5)))
    assert found == ["3 throttling events: let it cool, then measure again"]


def test_a_pause_lasts_until_it_is_cool_and_not_for_ever():
    cool, warm = device_state(phone()), device_state(phone(big_state=1))
    slept: list[float] = []
    readings = iter([warm, warm, cool])
    assert cool_down(lambda: next(readings), sleep=slept.append) == (20.0, [])
    assert slept == [10.0, 10.0]
    waited, reasons = cool_down(lambda: warm, seconds=30, sleep=slept.append)
    assert waited == 30.0
    assert len(reasons) == 1
