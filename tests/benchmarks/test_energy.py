"""Energy comes from the counters or is said to be unknown."""

import os

import pytest

from benchmarks.energy import energy_per_call, joules_between, read_counters


def zone(folder, name, energy):
    (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / name / "energy_uj").write_text(f"{energy}\n")
    (folder / name / "max_energy_range_uj").write_text("1000000000\n")


def test_joules_of_a_call_are_the_counters_difference_over_the_calls(tmp_path):
    zone(tmp_path, "intel-rapl:0", 1_000_000)
    made = []

    def run(calls):
        made.append(calls)
        zone(tmp_path, "intel-rapl:0", 21_000_000)

    energy = energy_per_call("a", run, call_seconds=0.005, folder=tmp_path)
    assert made == [200]
    assert energy.joules == pytest.approx(0.1)


def test_parts_of_a_package_are_not_counted_twice(tmp_path):
    zone(tmp_path, "intel-rapl:0", 1)
    zone(tmp_path, "intel-rapl:0:0", 2)
    zone(tmp_path, "intel-rapl:1", 3)
    assert set(read_counters(tmp_path)) == {"intel-rapl:0", "intel-rapl:1"}


def test_a_counter_that_wrapped_is_followed():
    assert joules_between({"0": (9_000_000, 10_000_000)}, {"0": (1_000_000, 10_000_000)}) == 2


def test_a_machine_without_counters_says_so(tmp_path):
    energy = energy_per_call("a", lambda calls: None, 0.005, folder=tmp_path)
    assert energy.joules is None
    assert "no RAPL counters" in energy.reason


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root reads everything")
def test_counters_that_may_not_be_read_say_what_to_do(tmp_path):
    zone(tmp_path, "intel-rapl:0", 1)
    (tmp_path / "intel-rapl:0" / "energy_uj").chmod(0)
    assert "run as root" in energy_per_call("a", lambda calls: None, 0.005, folder=tmp_path).reason
