"""Instability is reported with its size and a remedy; a steady measurement says nothing."""

import pytest

from benchmarks import MachineState, instability


def steady(measurement, **changes):
    return measurement([[0.005 + 0.00001 * (i % 3) for i in range(8)] for _ in range(8)], **changes)


def disturbed(measurement, **states):
    m = steady(measurement)
    before, after = ({name: values[i] for name, values in states.items()} for i in (0, 1))
    environment = m.environment.model_copy(update={"before": MachineState(**before), "after": MachineState(**after)})
    return m.model_copy(update={"environment": environment})


def test_a_steady_measurement_is_stable(measurement):
    assert instability(steady(measurement)) == []


def test_spread_is_reported_with_size_and_remedy(measurement):
    assert instability(measurement([[0.005, 0.0058] * 8] * 8)) == [
        "fluctuation: IQR is 15% of the median (limit 10%): close other programs or measure for longer"
    ]


def test_a_large_spread_is_called_significant(measurement):
    assert instability(measurement([[0.005, 0.009] * 8] * 8))[0].startswith("significant fluctuation: IQR is")


def test_interruptions_are_counted(measurement):
    m = steady(measurement, interrupted=lambda launch, number: number % 2 == 0)
    assert instability(m)[0].startswith("50% of the calls were interrupted by other processes (limit 10%; the figures")


def test_too_little_is_said(measurement):
    sentences = instability(measurement([[0.005] * 8]))
    assert "1 launch of the process (limit 3)" in sentences[0]
    assert "only 8 samples (limit 20)" in sentences[1]


def test_calls_too_short_for_the_clock_are_said(measurement):
    m = measurement([[0.000005] * 8] * 8)
    assert instability(m) == ["a call takes 5.0 us (limit 10 us): time a larger batch"]


@pytest.mark.parametrize(
    ("states", "words"),
    [
        ({"throttles": (3, 5)}, "the CPU throttled 2 times from heat"),
        (
            {"steal_seconds": (1.0, 1.5), "unix_seconds": (5, 10)},
            "the hypervisor took 5% of the time for others (limit 2%)",
        ),
        (
            {"unix_seconds": (0, 10), "busy_seconds": (100, 125), "own_seconds": (1, 9)},
            "other processes kept 1.7 of 2 CPUs busy, too many to leave room for 1 thread: close",
        ),
        ({"frequency_mhz": (3000.0, 2400.0)}, "CPU frequency changed by -20%"),
    ],
)
def test_what_the_machine_did_meanwhile_is_said(measurement, states, words):
    assert words in instability(disturbed(measurement, **states))[0]


def test_a_neighbour_on_a_cpu_of_its_own_is_no_trouble(measurement):
    states = {"unix_seconds": (0, 10), "busy_seconds": (100, 119), "own_seconds": (1, 10)}
    assert instability(disturbed(measurement, **states)) == []


def test_a_governor_that_saves_power_is_said(measurement):
    m = steady(measurement)
    saving = m.environment.model_copy(update={"governor": "powersave"})
    assert "governor is powersave" in instability(m.model_copy(update={"environment": saving}))[0]
