"""What identifies a device."""

from __future__ import annotations

import pytest

from benchmarks.errors import DeviceUnreachableError
from hardware_profiles import Device, local_device, resolve

BOARD = Device(name="Cortex-A76", isa=("asimd", "asimddp"), cores=4, caches={"L2": 512 << 10}, machine="aarch64")


def test_the_fingerprint_is_16_hex_digits_and_always_the_same():
    assert BOARD.fingerprint == BOARD.model_copy().fingerprint
    assert int(BOARD.fingerprint, 16) >= 0
    assert len(BOARD.fingerprint) == 16


@pytest.mark.parametrize(
    "change", [{"name": "Cortex-A72"}, {"isa": ("asimd",)}, {"cores": 2}, {"caches": {}}, {"cpu_limit": 1.5}]
)
def test_what_decides_latency_changes_the_fingerprint(change):
    assert BOARD.model_copy(update=change).fingerprint != BOARD.fingerprint


@pytest.mark.parametrize("change", [{"runtimes": {"onnxruntime-cpu": "9"}}, {"memory_bytes": 1}])
def test_what_does_not_decide_it_leaves_the_fingerprint(change):
    assert BOARD.model_copy(update=change).fingerprint == BOARD.fingerprint


def test_a_difference_names_the_field_and_both_values():
    assert BOARD.difference(BOARD) is None
    assert BOARD.difference(BOARD.model_copy(update={"cores": 2})) == "cores 4 against 2"
    older = BOARD.model_copy(update={"isa": ("asimd",)})
    assert BOARD.difference(older) == "isa with asimddp against without them"


def test_this_machine_is_described():
    device = local_device()
    assert device == resolve("local")
    assert device.name
    assert device.cores >= 1
    assert "onnxruntime-cpu" in device.runtimes


def test_other_devices_are_refused_with_what_is_supported():
    with pytest.raises(DeviceUnreachableError, match="got device 'ssh://pi@pi', expected local"):
        resolve("ssh://pi@pi")
