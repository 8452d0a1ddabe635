"""Profiles that were made elsewhere stand for their device, and say where they come from."""

from __future__ import annotations

import datetime

import made_profile as made
import pytest

from benchmarks.errors import TrimfitError
from hardware_profiles import Conditions, LatencyProfile, RuntimeRecord, StoredDevice, is_stored
from hardware_profiles.catalog import catalog, catalog_names, catalog_profiles, is_published
from hardware_profiles.profile_list import list_profiles
from hardware_profiles.runtimes.elsewhere import RuntimeElsewhere

DAY = Conditions(date=datetime.date(2026, 11, 22), trimfit="0.1.0")
SPARSE = RuntimeRecord(name="onnxruntime-cpu+sparse", version="1.0+sparse.ab", options={})


def stored(**changes: object) -> LatencyProfile:
    return made.profile().with_conditions(DAY).model_copy(update=changes)


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A catalog with one device of two runtimes."""
    monkeypatch.setattr(catalog, "FOLDER", tmp_path / "catalog")
    stored().save(tmp_path / "catalog" / "slide-rule" / "onnxruntime-cpu.json")
    stored(runtime_record=SPARSE).save(tmp_path / "catalog" / "slide-rule" / "onnxruntime-cpu+sparse.json")
    return tmp_path / "catalog"


# the catalog


def test_every_profile_that_ships_is_whole_and_says_where_it_comes_from():
    for name in catalog_names():
        if is_published(f"catalog:{name}"):
            continue
        device = StoredDevice.open(f"catalog:{name}")
        assert device.device.provenance == "measured_device"
        assert device.workloads()


def test_a_device_of_the_catalog_is_found_by_its_name(shelf):
    device = StoredDevice.open("catalog:slide-rule")
    assert catalog_names() == ("slide-rule",)
    assert device.device == made.DEVICE
    assert list(device.profiles) == ["onnxruntime-cpu", "onnxruntime-cpu+sparse"]
    assert device.profile("onnxruntime-cpu") == stored()
    assert device.workloads() == (made.WORKLOAD,)
    assert device.origin == (
        "profiles of onnxruntime-cpu 1.0 and onnxruntime-cpu+sparse 1.0+sparse.ab: measured_device,"
        " 2026-11-22 by trimfit 0.1.0"
    )


@pytest.mark.parametrize("name", ["abacus", "../catalog/slide-rule", ""])
def test_a_name_that_is_not_there_is_refused_with_those_that_are(shelf, name):
    with pytest.raises(TrimfitError, match=f"got catalog:{name}, expected one of catalog:slide-rule"):
        catalog_profiles(name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"conditions": ()}, "with no conditions, expected what `trimfit profile --out` writes"),
        ({"entries": ()}, "with no entries"),
        (
            {"runtime_record": RuntimeRecord(name="r", version="1", options={"custom_op_library": "/home/me/lib.so"})},
            "with options of one machine",
        ),
    ],
)
def test_the_catalog_takes_no_profile_of_unknown_origin_or_of_one_machine_only(shelf, changes, message):
    stored(**changes).save(shelf / "odd" / "profile.json")
    with pytest.raises(TrimfitError, match=message):
        catalog_profiles("odd")


def test_a_runtime_that_was_not_profiled_is_refused_with_those_that_were(shelf):
    with pytest.raises(TrimfitError, match=r"got runtime 'openvino' for catalog:slide-rule, expected one of .*sparse"):
        StoredDevice.open("catalog:slide-rule").profile("openvino")


# files and folders


def test_a_file_and_a_folder_stand_for_their_device(tmp_path):
    path = stored().save(tmp_path / "mine" / "profile.json")
    assert StoredDevice.open(str(path)).profiles == {"onnxruntime-cpu": stored()}
    assert StoredDevice.open(str(path.parent)).profiles == {"onnxruntime-cpu": stored()}


def test_profiles_of_one_runtime_in_a_folder_are_merged(tmp_path):
    first, second = made.profile().entries[::2], made.profile().entries[1::2]
    stored(entries=first).save(tmp_path / "a.json")
    stored(entries=second).save(tmp_path / "b.json")
    assert set(StoredDevice.open(str(tmp_path)).profile("onnxruntime-cpu").entries) == {*first, *second}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"device": made.DEVICE.model_copy(update={"cores": 8})}, "got a.json and b.json with cores 1 against 8"),
        ({"device": made.DEVICE.model_copy(update={"provenance": "modelled"})}, "measured_device against modelled"),
        ({"runtime_record": SPARSE.model_copy(update={"version": "2.0+sparse.ab"})}, "onnxruntime-cpu 1.0 and 2.0"),
    ],
)  # fmt: skip
def test_profiles_of_different_devices_or_versions_are_not_taken_for_one(tmp_path, change, message):
    stored().save(tmp_path / "a.json")
    stored(**change).save(tmp_path / "b.json")
    with pytest.raises(TrimfitError, match=message):
        StoredDevice.open(str(tmp_path))


def test_a_folder_without_profiles_is_refused(tmp_path):
    with pytest.raises(TrimfitError, match="expected a folder with profiles"):
        StoredDevice.open(str(tmp_path))


def test_names_of_profiles_are_told_from_names_of_devices(tmp_path, monkeypatch):
    assert [is_stored(name) for name in ("catalog:x", "x.json", str(tmp_path))] == [True] * 3
    monkeypatch.chdir(tmp_path)
    (tmp_path / "local").mkdir()
    assert [is_stored(name) for name in ("local", "local:avx2", "ssh://pi@pi", "cuda")] == [False] * 4


def test_nothing_runs_in_the_runtime_of_a_profile(tmp_path):
    runtime = RuntimeElsewhere("openvino", "2026.1", ("fp32", "int8"))
    for act in (lambda: runtime.session(tmp_path, 1), lambda: runtime.prepare(tmp_path, "fp32", tmp_path)):
        with pytest.raises(TrimfitError, match=r"got a profile of openvino 2026\.1, expected a device"):
            act()


# the list


def test_the_list_has_the_catalog_and_the_cache_and_says_what_is_not_this_machines(shelf, tmp_path):
    cache = tmp_path / "cache"
    made.profile().save(cache / "known.json")
    (cache / "broken.json").write_text("{")
    catalogued, _, broken, known = list_profiles(cache)
    assert (catalogued.name, catalogued.runtime, catalogued.provenance) == (
        "catalog:slide-rule", "onnxruntime-cpu", "measured_device",
    )  # fmt: skip
    assert catalogued.conditions == (DAY,)
    assert catalogued.workloads == (made.WORKLOAD,)
    assert catalogued.hidden_sizes == (made.HIDDEN,)
    assert catalogued.measurements == len(made.profile().entries)
    assert "name slide rule against" in catalogued.differs
    assert "onnxruntime-cpu 1.0 against onnxruntime-cpu" in known.differs
    assert (known.name, known.problem) == (str(cache / "known.json"), None)
    assert "expected a latency profile in JSON" in broken.problem
