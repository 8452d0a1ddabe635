"""The limits of a container are found wherever its control groups say them."""

from pathlib import Path

import pytest

from benchmarks.control_group import ControlGroup, read_control_group


def group(folder: Path, membership: str, files: dict[str, str]) -> ControlGroup:
    for name, text in files.items():
        path = folder / "mount" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    (folder / "membership").write_text(membership)
    return read_control_group(folder / "mount", folder / "membership")


def test_the_quota_and_the_memory_of_version_2(tmp_path: Path) -> None:
    found = group(tmp_path, "0::/\n", {"cpu.max": "150000 100000", "memory.max": "1073741824"})
    assert found == ControlGroup(1.5, 1 << 30)


def test_the_quota_and_the_memory_of_version_1(tmp_path: Path) -> None:
    files = {
        "cpu,cpuacct/cpu.cfs_quota_us": "50000",
        "cpu,cpuacct/cpu.cfs_period_us": "100000",
        "memory/memory.limit_in_bytes": "4096",
    }
    assert group(tmp_path, "3:cpu,cpuacct:/\n2:memory:/\n", files) == ControlGroup(0.5, 4096)


def test_the_tightest_of_a_group_and_those_above_it_counts(tmp_path: Path) -> None:
    files = {"cpu.max": "max 100000", "a/cpu.max": "100000 100000", "a/b/cpu.max": "200000 100000"}
    assert group(tmp_path, "0::/a/b\n", files).cpus == 1


def test_a_group_that_only_the_host_sees_is_the_root_in_a_container(tmp_path: Path) -> None:
    files = {"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}
    assert group(tmp_path, "1:cpu:/docker/0123\n", files).cpus == 2


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"cpu.max": "max 100000", "memory.max": "max"},
        {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
        {"memory/memory.limit_in_bytes": "9223372036854771712"},
    ],
)
def test_no_limit_is_none(tmp_path: Path, files: dict[str, str]) -> None:
    assert group(tmp_path, "2:memory:/\n1:cpu:/\n0::/\n", files) == ControlGroup()


def test_a_system_without_control_groups_has_no_limits(tmp_path: Path) -> None:
    assert read_control_group(tmp_path / "none", tmp_path / "nothing") == ControlGroup()
