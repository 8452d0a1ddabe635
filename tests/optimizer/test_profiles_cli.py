"""`trimfit profiles` lists and merges; `trimfit profile` prints what was made elsewhere."""

from __future__ import annotations

import datetime
import json
import sys
from pathlib import Path

import made_setting as made
import pytest

from hardware_profiles import Conditions, LatencyProfile
from hardware_profiles.catalog import catalog
from optimizer.cli import main

DAY = Conditions(date=datetime.date(2026, 11, 22), trimfit="0.1.0")


def a_profile(**changes: object) -> LatencyProfile:
    return made.profile(made.STOCK, {"fp32": 1.0, "int8": 1.0}).with_conditions(DAY).model_copy(update=changes)


def trimfit(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["trimfit", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


@pytest.fixture(autouse=True)
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A catalog of one profile, and an empty cache."""
    monkeypatch.setenv("TRIMFIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(catalog, "FOLDER", tmp_path / "catalog")
    a_profile().save(tmp_path / "catalog" / "slide-rule" / f"{made.STOCK}.json")
    return tmp_path / "catalog"


def test_the_list_says_what_was_measured_where_and_what_differs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    assert trimfit(monkeypatch, "profiles") == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "catalog:slide-rule"
    assert lines[1] == "slide rule (unknown), onnxruntime-cpu 1"
    assert "hidden size 16; batch 1, 8 tokens, 1 thread" in lines[2]
    assert lines[3] == "measured_device, 2026-11-22 by trimfit 0.1.0"
    assert lines[4].startswith("not this machine: name slide rule against")


def test_the_list_is_json_for_scripts(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    assert trimfit(monkeypatch, "profiles", "--json") == 0
    (item,) = json.loads(capsys.readouterr().out)
    assert (item["name"], item["conditions"][0]["date"]) == ("catalog:slide-rule", "2026-11-22")


def test_an_empty_list_says_how_to_begin(
    shelf: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (shelf / "slide-rule" / f"{made.STOCK}.json").unlink()
    assert trimfit(monkeypatch, "profiles") == 0
    assert "no profiles yet: `trimfit profile` measures this machine" in capsys.readouterr().out


def test_two_files_of_one_device_become_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = a_profile().entries
    a = a_profile(entries=entries[::2]).save(tmp_path / "a.json")
    b = a_profile(entries=entries[1::2]).save(tmp_path / "b.json")
    assert trimfit(monkeypatch, "profiles", "merge", a, b, "--out", a) == 0
    assert set(LatencyProfile.load(a).entries) == set(entries)


def test_files_of_different_devices_are_refused_with_what_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    a = a_profile().save(tmp_path / "a.json")
    b = a_profile(device=made.DEVICE.model_copy(update={"cores": 8})).save(tmp_path / "b.json")
    assert trimfit(monkeypatch, "profiles", "merge", a, b, "--out", tmp_path / "c.json") == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line]
    assert "got profiles with cores 1 against 8, expected one device and runtime: keep them apart" in line
    assert not (tmp_path / "c.json").exists()


def test_a_profile_of_the_catalog_is_printed_and_not_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr("optimizer.preparation.run_profile", lambda *_a, **_k: pytest.fail("a profile was measured"))
    assert trimfit(monkeypatch, "profile", "--device", "catalog:slide-rule") == 0
    text = capsys.readouterr().out
    assert "slide rule, onnxruntime-cpu 1" in text
    assert "measured_device, 2026-11-22 by trimfit 0.1.0" in text


@pytest.mark.parametrize(
    "command", [("benchmark", "model.onnx"), ("optimize", "--model", "m", "--data", "d", "--out", "o")]
)
def test_where_something_has_to_run_a_profile_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, command: tuple[str, ...]
) -> None:
    assert trimfit(monkeypatch, *command, "--device", "catalog:slide-rule") == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line]
    assert "got device catalog:slide-rule, which is a profile, expected local" in line
