"""The operators' library: the same bytes from the same sources, only what is promised inside, and no needless work."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from elf import read_elf

from hardware_profiles.runtimes.sparse import build as builder
from hardware_profiles.runtimes.sparse.build import LIBRARIES, TARGETS, CompilationError, build, library_name, main

ROOT = Path(__file__).parents[4]
FUNCTION = '__attribute__((visibility("default"))) int answer(void) { return %d; }\n'
every_target = pytest.mark.parametrize("target", TARGETS)


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    folder = tmp_path / "csrc"
    folder.mkdir()
    (folder / "one.c").write_text(FUNCTION % 1)
    return folder


@every_target
def test_the_same_sources_give_the_same_bytes(target: str, tmp_path: Path) -> None:
    assert build(target, tmp_path).read_bytes() == build(target).read_bytes()


@every_target
def test_a_library_has_one_entry_and_needs_libc_alone(target: str) -> None:
    library = read_elf(build(target))
    assert library.machine == target.split("-")[0]
    assert library.exported == {"RegisterCustomOps"}
    assert library.needed <= {TARGETS[target].libc}
    assert library.taken <= {"getauxval", "getenv", "memcpy", "memmove", "memset"}


def test_android_may_have_pages_of_16_kilobytes() -> None:
    assert read_elf(build("aarch64-android")).page_size >= 16384


def test_what_is_current_is_not_built_again(sources: Path, tmp_path: Path) -> None:
    first = build("x86_64-linux", tmp_path, sources=sources).stat()
    assert build("x86_64-linux", tmp_path, sources=sources).stat() == first


def test_a_changed_source_is_built_again(sources: Path, tmp_path: Path) -> None:
    before = build("x86_64-linux", tmp_path, sources=sources).read_bytes()
    (sources / "one.c").write_text(FUNCTION % 2)
    assert build("x86_64-linux", tmp_path, sources=sources).read_bytes() != before


def test_a_damaged_library_is_built_again(sources: Path, tmp_path: Path) -> None:
    library = build("x86_64-linux", tmp_path, sources=sources)
    whole = library.read_bytes()
    library.write_bytes(whole[:100])
    assert build("x86_64-linux", tmp_path, sources=sources).read_bytes() == whole


def test_another_machines_instructions_are_left_out(sources: Path, tmp_path: Path) -> None:
    (sources / "isa_avx2.c").write_text("#include <immintrin.h>\n" + (FUNCTION % 1).replace("answer", "by_avx2"))
    assert read_elf(build("x86_64-linux", tmp_path, sources=sources)).exported == {"answer", "by_avx2"}
    assert read_elf(build("aarch64-linux", tmp_path, sources=sources)).exported == {"answer"}


@every_target
def test_more_of_libc_than_allowed_is_an_error_when_building(target: str, sources: Path, tmp_path: Path) -> None:
    (sources / "one.c").write_text('int puts(const char *);\nvoid hello(void) { puts("hello"); }\n')
    with pytest.raises(CompilationError, match="undefined symbol: puts"):
        build(target, tmp_path, sources=sources)


def test_a_mistake_is_shown_in_the_compilers_words(sources: Path, tmp_path: Path) -> None:
    (sources / "one.c").write_text("int f(void) { int unused; return 0; }\n")
    with pytest.raises(CompilationError, match=r"one\.c:1:.*unused variable"):
        build("x86_64-linux", tmp_path, sources=sources)
    assert not list(tmp_path.glob("*.so"))


def test_without_the_compiler_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def missing(name: str) -> str:
        raise builder.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(builder.importlib.metadata, "version", missing)
    with pytest.raises(CompilationError, match="pip install ziglang"):
        build("x86_64-linux", tmp_path)


def test_an_unknown_target_is_refused_by_name() -> None:
    with pytest.raises(CompilationError, match="got target 'vax', expected one of x86_64-linux"):
        build("vax")


def test_the_command_line_says_what_it_made(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["--target", "aarch64-android", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path / library_name('aarch64-android')}\n"


def test_a_wheel_brings_the_libraries_and_belongs_to_a_platform(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", minversion="77")
    project = tmp_path / "project"
    for name in ("benchmarks", "hardware_profiles", "optimizer"):
        shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__", "lib", "results"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, project)
    place = Path("hardware_profiles", "runtimes", "sparse", "lib")
    shutil.copytree(LIBRARIES, project / "build" / "lib" / place)  # current: not compiled again
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        tmp_path,
        ".",
    ]
    subprocess.run(command, cwd=project, check=True, env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    (wheel,) = tmp_path.glob("*.whl")
    assert "-py3-none-any" not in wheel.name
    assert "-py3-none-" in wheel.name
    with zipfile.ZipFile(wheel) as files:
        assert {str(place / library_name(target)) for target in TARGETS} <= set(files.namelist())
        assert "hardware_profiles/runtimes/sparse/csrc/library.c" in files.namelist()
