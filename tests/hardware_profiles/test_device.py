"""What identifies a device."""

from __future__ import annotations

import os

import pytest
from pydantic import ValidationError

from benchmarks.errors import DeviceUnreachableError
from hardware_profiles import Device, local_device, resolve
from hardware_profiles.runtimes.sparse import dispatcher
from hardware_profiles.runtimes.sparse.dispatcher import LIMIT, operator_isas

BOARD = Device(
    name="Cortex-A76",
    isa=("asimd", "asimddp"),
    core_kinds={"ARM 0x41/0xd0b r4p1": 4},
    cores=4,
    caches={"L2": 512 << 10},
    shared_caches={"L2": 1},
    machine="aarch64",
)
ZEN = {"fma", "avx2", "avx512f", "avx512bw", "avx512vl", "avx512_vnni"}


@pytest.fixture
def zen(monkeypatch):
    """The sparse operators as on a CPU with AVX-512 VNNI, and an environment that does not restrict them."""
    monkeypatch.setattr(dispatcher, "instruction_sets", lambda: tuple(ZEN))
    monkeypatch.delenv(LIMIT, raising=False)


def test_the_fingerprint_is_16_hex_digits_and_always_the_same():
    assert BOARD.fingerprint == BOARD.model_copy().fingerprint
    assert int(BOARD.fingerprint, 16) >= 0
    assert len(BOARD.fingerprint) == 16


@pytest.mark.parametrize(
    "change",
    [
        {"name": "Cortex-A72"},
        {"isa": ("asimd",)},
        {"cores": 2},
        {"core_kinds": {"ARM 0x41/0xd0b r4p1": 2, "ARM 0x41/0xd05 r1p0": 2}},
        {"caches": {}},
        {"shared_caches": {"L2": 2}},
        {"cpu_limit": 1.5},
        {"operators_isa": "neon"},
    ],
)
def test_what_decides_latency_changes_the_fingerprint(change):
    assert BOARD.model_copy(update=change).fingerprint != BOARD.fingerprint


@pytest.mark.parametrize("change", [{"runtimes": {"onnxruntime-cpu": "9"}}, {"memory_bytes": 1}])
def test_what_does_not_decide_it_leaves_the_fingerprint(change):
    assert BOARD.model_copy(update=change).fingerprint == BOARD.fingerprint


def test_a_difference_names_every_field_and_both_values():
    assert BOARD.difference(BOARD) is None
    assert BOARD.difference(BOARD.model_copy(update={"cores": 2})) == "cores 4 against 2"
    older = BOARD.model_copy(update={"isa": ("asimd",), "cpu_limit": 1.5})
    assert BOARD.difference(older) == "isa with asimddp against without them, cpu_limit None against 1.5"
    assert BOARD.difference(BOARD.model_copy(update={"caches": {}})) == "caches L2: 524288 against unknown"


def test_numbers_of_another_provenance_are_a_difference():
    proxy = BOARD.model_copy(update={"provenance": "measured_proxy"})
    assert BOARD.difference(proxy) == "provenance measured_device against measured_proxy"


def test_a_provenance_is_one_of_five_words():
    with pytest.raises(ValidationError, match="provenance"):
        Device(name="board", provenance="felt")


def test_its_cores_have_a_name_where_their_numbers_are_known():
    assert BOARD.microarchitecture == "Cortex-A76"
    assert Device(name="board").microarchitecture == "unknown"


@pytest.mark.parametrize(("limit", "threads"), [(None, 4), (2.5, 2), (0.5, 1), (64.0, 4)])
def test_no_more_threads_than_the_container_may_keep_busy(limit, threads):
    assert BOARD.model_copy(update={"cpu_limit": limit}).default_threads == threads


def test_this_machine_is_described():
    device = local_device()
    assert device == resolve("local")
    assert device.name
    assert device.cores >= 1
    assert sum(device.core_kinds.values()) in (0, device.cores)
    assert device.caches.keys() == device.shared_caches.keys()
    assert "onnxruntime-cpu" in device.runtimes


@pytest.mark.parametrize("name", ["ftp://pi@pi", "local:", "localhost"])
def test_other_devices_are_refused_with_what_is_supported(name):
    with pytest.raises(DeviceUnreachableError, match=f"got device '{name}', expected local, ssh://... or adb://..."):
        resolve(name)


@pytest.mark.parametrize("name", ["catalog:zen5", "path/to/profile.json"])
def test_a_profile_is_no_device_that_can_be_measured(name):
    with pytest.raises(DeviceUnreachableError, match=f"got device {name}, which is a profile, expected local"):
        resolve(name)


# the same CPU with instruction sets hidden


def test_limited_operators_make_another_device_whose_name_says_so(zen):
    limited, free = resolve("local:avx2"), resolve("local")
    assert (
        limited.name == f"{free.name}, sparse operators limited to AVX2 (stock onnxruntime still sees all instructions)"
    )
    assert limited.isa == free.isa
    assert limited.fingerprint != free.fingerprint
    assert limited.limited(None).fingerprint == free.fingerprint


def test_limited_to_the_best_is_not_limited(zen):
    assert resolve("local:avx512vnni") == resolve("local")


def test_what_the_environment_limits_is_the_limited_device(zen, monkeypatch):
    limited, free = resolve("local:avx2"), resolve("local")
    monkeypatch.setenv(LIMIT, "avx2")
    assert resolve("local") == limited
    monkeypatch.setenv(LIMIT, "avx512vnni")
    assert resolve("local") == free


def test_a_limit_that_this_cpu_does_not_have_is_refused(zen):
    with pytest.raises(DeviceUnreachableError, match=r"got device local:neon, expected local, .*: avx512, avx2$"):
        resolve("local:neon")


def test_in_force_the_operators_see_the_limit_and_afterwards_what_was_before(zen, monkeypatch):
    with resolve("local:avx2").in_force():
        assert os.environ[LIMIT] == "avx2"
        assert dispatcher.environment() == {LIMIT: "avx2"}
        with resolve("local").limited(None).in_force():
            assert LIMIT not in os.environ
        assert os.environ[LIMIT] == "avx2"
    assert LIMIT not in os.environ
    assert dispatcher.environment() == {}


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        (ZEN, ("avx512vnni", "avx512", "avx2")),
        (ZEN - {"avx512_vnni"}, ("avx512", "avx2")),
        (ZEN - {"avx512vl"}, ("avx2",)),
        ({"avx2"}, ()),
        ({"asimd", "asimddp"}, ("neondot", "neon")),
        ({"asimd"}, ("neon",)),
    ],
)
def test_the_operators_use_what_a_cpu_has_best_first(flags, names):
    assert operator_isas(flags) == names
