"""Caches are read of the cores that may be used, with how many of these share one."""

from __future__ import annotations

from hardware_profiles.caches import read_caches


def write(folder, cpu, *caches):
    for index, (level, kind, size, shared) in enumerate(caches):
        place = folder / f"cpu{cpu}" / "cache" / f"index{index}"
        place.mkdir(parents=True)
        facts = {"level": level, "type": kind, "size": size, "shared_cpu_list": shared}
        for name, value in facts.items():
            (place / name).write_text(f"{value}\n")


def test_sizes_and_sharers_by_level(tmp_path):
    for cpu in range(4):
        pair = f"{cpu // 2 * 2}-{cpu // 2 * 2 + 1}"
        write(tmp_path, cpu, (1, "Data", "48K", cpu), (1, "Instruction", "32K", cpu), (2, "Unified", "1024K", pair),
              (3, "Unified", "32768K", "0-3"))  # fmt: skip
    sizes = {"L1": 48 << 10, "L2": 1 << 20, "L3": 32 << 20}
    assert read_caches((), tmp_path) == (sizes, {"L1": 1, "L2": 2, "L3": 4})
    assert read_caches((0, 2), tmp_path) == (sizes, {"L1": 1, "L2": 1, "L3": 2}), "others' cores do not count"


def test_where_cores_differ_the_largest_counts(tmp_path):
    write(tmp_path, 0, (1, "Data", "32K", 0))
    write(tmp_path, 1, (1, "Data", "64K", 1))
    assert read_caches((0, 1), tmp_path)[0] == {"L1": 64 << 10}
    assert read_caches((0,), tmp_path)[0] == {"L1": 32 << 10}


def test_a_system_that_tells_nothing_has_none(tmp_path):
    assert read_caches((0,), tmp_path) == ({}, {})
