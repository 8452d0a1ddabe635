"""Cores are known by their numbers, and named where the numbers are known."""

from __future__ import annotations

import pytest

from hardware_profiles.core_kinds import core_kinds, in_words
from hardware_profiles.microarchitecture import microarchitecture


def x86(number: int, family: int = 26, model: int = 2, stepping: int = 1, vendor: str = "AuthenticAMD") -> str:
    return (
        f"processor\t: {number}\nvendor_id\t: {vendor}\ncpu family\t: {family}\nmodel\t\t: {model}\n"
        f"model name\t: AMD EPYC\nstepping\t: {stepping}\nflags\t\t: fpu avx2\n"
    )


def arm(number: int, part: str, implementer: str = "0x41", variant: str = "0x1", revision: int = 0) -> str:
    return (
        f"processor\t: {number}\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd\nCPU implementer\t: {implementer}\n"
        f"CPU architecture: 8\nCPU variant\t: {variant}\nCPU part\t: {part}\nCPU revision\t: {revision}\n"
    )


def cpuinfo(*paragraphs: str) -> str:
    return "\n".join(paragraphs) + "\nRevision\t: c04170\nModel\t\t: A board\n"


BIG_LITTLE = cpuinfo(*(arm(n, "0xd05", revision=0) for n in range(4)), *(arm(n, "0xd0b") for n in range(4, 8)))


def test_equal_cores_are_of_one_kind():
    kinds = core_kinds(cpuinfo(x86(0), x86(1)), ())
    assert kinds == {"AuthenticAMD 26/2/1": 2}
    assert in_words(kinds) == "Zen 5"


def test_big_little_has_several_kinds():
    kinds = core_kinds(BIG_LITTLE, ())
    assert kinds == {"ARM 0x41/0xd05 r1p0": 4, "ARM 0x41/0xd0b r1p0": 4}
    assert in_words(kinds) == "4 x Cortex-A55 + 4 x Cortex-A76"


def test_only_the_cores_that_may_be_used_count():
    assert in_words(core_kinds(BIG_LITTLE, {4, 5})) == "Cortex-A76"
    assert core_kinds(BIG_LITTLE, {0, 7}) == {"ARM 0x41/0xd05 r1p0": 1, "ARM 0x41/0xd0b r1p0": 1}


def test_the_small_cores_of_a_hybrid_give_the_same_numbers_and_are_told_apart():
    hybrid = cpuinfo(*(x86(n, 6, 151, 2, "GenuineIntel") for n in range(3)))
    kinds = core_kinds(hybrid, (), efficient=(2,))
    assert kinds == {"GenuineIntel 6/151/2": 2, "GenuineIntel 6/151/2 efficient": 1}
    assert in_words(kinds) == "2 x Alder Lake + 1 x Alder Lake (efficient cores)"


@pytest.mark.parametrize("text", ["", "processor\t: 0\nisa\t: rv64imafdc\n", "no colon here\n\n\n"])
def test_where_the_kernel_gives_no_numbers_nothing_is_claimed(text):
    assert core_kinds(text, ()) == {}
    assert in_words({}) == "unknown"


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("AuthenticAMD 23/1/2", "Zen"),
        ("AuthenticAMD 23/8/2", "Zen+"),
        ("AuthenticAMD 23/49/0", "Zen 2"),
        ("AuthenticAMD 25/1/1", "Zen 3"),
        ("AuthenticAMD 25/17/1", "Zen 4"),
        ("AuthenticAMD 26/68/0", "Zen 5"),
        ("GenuineIntel 6/63/2", "Haswell"),
        ("GenuineIntel 6/85/4", "Skylake"),
        ("GenuineIntel 6/85/7", "Cascade Lake"),
        ("GenuineIntel 6/85/11", "Cooper Lake"),
        ("GenuineIntel 6/106/6", "Ice Lake"),
        ("GenuineIntel 6/143/8", "Sapphire Rapids"),
        ("GenuineIntel 6/207/2", "Emerald Rapids"),
        ("GenuineIntel 6/173/1", "Granite Rapids"),
        ("ARM 0x41/0xd0c r3p1", "Neoverse N1"),
        ("ARM 0x41/0xd08 r0p3", "Cortex-A72"),
        ("ARM 0x61/0x023 r1p1", "Firestorm (M1)"),
    ],
)
def test_known_numbers_have_a_name(kind, name):
    assert microarchitecture(kind) == name


@pytest.mark.parametrize(
    "kind",
    [
        "AuthenticAMD 99/1/1", "GenuineIntel 6/999/1", "GenuineIntel 15/6/4", "ARM 0x41/0xfff r0p0",
        "ARM 0x99/0xd0b r0p0", "CentaurHauls 6/15/8", "", "ARM", "GenuineIntel", "AuthenticAMD 25/x/1",
    ],
)  # fmt: skip
def test_what_is_not_listed_is_unknown_and_not_guessed(kind):
    assert microarchitecture(kind) == "unknown"
