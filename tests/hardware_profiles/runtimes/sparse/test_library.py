"""Which library is for which machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.errors import TrimfitError
from hardware_profiles.runtimes.sparse import build
from hardware_profiles.runtimes.sparse.library import library_path


@pytest.mark.parametrize(
    ("machine", "system", "name"),
    [
        ("x86_64", "Linux", "libtrimfit-x86_64-linux.so"),
        ("AMD64", "linux", "libtrimfit-x86_64-linux.so"),
        ("aarch64", "Linux", "libtrimfit-aarch64-linux.so"),
        ("arm64", "Android", "libtrimfit-aarch64-android.so"),
    ],
)
def test_a_machine_is_known_by_what_uname_says(machine: str, system: str, name: str) -> None:
    path = library_path(machine, system)
    assert path.name == name
    assert path.is_file()


def test_this_machine_is_the_default() -> None:
    assert library_path().is_file()


def test_a_machine_without_a_library_is_told_what_there_is() -> None:
    with pytest.raises(TrimfitError, match="got Darwin on arm64, expected one of x86_64-linux, aarch64-linux"):
        library_path("arm64", "Darwin")


def test_a_library_that_was_not_built_is_told_how_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(build, "LIBRARIES", tmp_path)
    with pytest.raises(TrimfitError, match=r"python -m hardware_profiles\.runtimes\.sparse\.build"):
        library_path("x86_64", "Linux")
