"""What is missing is named with the command that installs it."""

from __future__ import annotations

from dataclasses import replace

import onnxruntime
import pytest

from benchmarks.errors import TrimfitError
from hardware_profiles.places import Inspection, inspect
from hardware_profiles.places.inspection import PYTHON_VARIABLE

PI = Inspection(
    name="ssh://pi@board:2222",
    machine="aarch64",
    system="Linux",
    free_bytes=8 << 30,
    tools={"timeout": "/usr/bin/timeout", "sha256sum": "/usr/bin/sha256sum"},
    python="/home/pi/.trimfit/bin/python3",
    python_version=(3, 11, 2),
    numpy="2.4.6",
    onnxruntime=onnxruntime.__version__,
)


def only(found: Inspection) -> str:
    (missing,) = found.missing
    return str(missing)


def test_nothing_is_missing_from_a_device_that_has_all():
    assert PI.missing == ()
    PI.check()


def test_packages_that_are_missing_come_with_one_command():
    bare = replace(PI, numpy=None, onnxruntime=None, python="python3")
    assert only(bare) == (
        f"got no numpy and no onnxruntime in python3, expected numpy and onnxruntime {onnxruntime.__version__}:"
        " ssh -p 2222 pi@board 'python3 -m venv ~/.trimfit && ~/.trimfit/bin/pip install numpy"
        f" onnxruntime=={onnxruntime.__version__}'"
    )


def test_another_onnxruntime_than_the_one_models_are_made_with_is_missing_this_one():
    assert "got onnxruntime 1.0 in" in only(replace(PI, onnxruntime="1.0"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"python": None}, "got no python3, expected 3.10 or later"),
        ({"python_version": (3, 9, 2)}, "got Python 3.9.2, expected 3.10 or later"),
        ({"free_bytes": 10 << 20}, "got 10 MB of free disk, expected at least 500"),
        ({"system": "Darwin"}, "got a device with Darwin, expected Linux or Android"),
    ],
)
def test_what_is_missing_is_said_with_what_was_found(change, words):
    assert words in only(replace(PI, **change))


def test_a_phone_gets_a_bundle_and_no_package_manager():
    phone = replace(PI, name="adb://R58", system="Android", python=None, python_version=())
    assert only(phone).endswith("`trimfit device bundle` makes one for it")


def test_a_check_says_the_first_of_it_in_one_line():
    with pytest.raises(TrimfitError, match="on ssh://pi@board:2222 got no python3, expected") as caught:
        replace(PI, python=None).check()
    assert "\n" not in str(caught.value)


def test_sparse_operators_are_those_of_its_machine():
    assert replace(PI, machine="riscv64").operators.startswith("got Linux on riscv64, expected one of")


def test_this_machine_is_inspected_without_python_of_ours(loopback):
    found = inspect(loopback)
    assert found.missing == ()
    assert found.tools["timeout"]
    assert found.free_bytes > 1 << 20


def test_an_interpreter_that_was_asked_for_and_does_not_run_is_refused(loopback, monkeypatch):
    monkeypatch.setenv(PYTHON_VARIABLE, "/no/such/python")
    assert only(inspect(loopback)) == (
        "got no Python that runs at /no/such/python, expected an interpreter there: name one that runs there with"
        " TRIMFIT_DEVICE_PYTHON, or unset it"
    )


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("ssh://[::1]", "ssh ::1 'python3"),
        ("ssh://pi@[::1]:2222", "ssh -p 2222 pi@::1 'python3"),
        ("adb://R58", "adb -s R58 shell 'python3"),
        ("local", "python3 -m venv"),
    ],
)
def test_the_command_that_installs_it_runs_there(name, command):
    assert f": {command}" in only(replace(PI, name=name, numpy=None))
