"""Microarchitecture: the name of a core's design, from the numbers that a CPU gives of itself.

Sources: Linux's arch/x86/include/asm/intel-family.h and arch/x86/kernel/cpu/amd.c, util-linux's sys-utils/lscpu-arm.c.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["UNKNOWN", "microarchitecture"]

UNKNOWN = "unknown"

_INTEL_6 = {
    "Sandy Bridge": (42, 45),
    "Ivy Bridge": (58, 62),
    "Haswell": (60, 63, 69, 70),
    "Broadwell": (61, 71, 79, 86),
    "Skylake": (78, 94),
    "Kaby Lake or Coffee Lake": (142, 158),  # told apart by steppings that overlap
    "Comet Lake": (165, 166),
    "Cannon Lake": (102,),
    "Ice Lake": (106, 108, 125, 126),
    "Tiger Lake": (140, 141),
    "Rocket Lake": (167,),
    "Alder Lake": (151, 154),
    "Raptor Lake": (183, 186, 191),
    "Meteor Lake": (170, 172),
    "Arrow Lake": (181, 197, 198),
    "Lunar Lake": (189,),
    "Panther Lake": (204,),
    "Sapphire Rapids": (143,),
    "Emerald Rapids": (207,),
    "Granite Rapids": (173, 174),
    "Sierra Forest": (175,),
    "Clearwater Forest": (221,),
    "Silvermont or Airmont": (55, 74, 76, 77),
    "Goldmont": (92, 95),
    "Goldmont Plus": (122,),
    "Tremont": (134, 150, 156),
    "Gracemont": (190,),
    "Crestmont": (182,),
}
_SKYLAKE_SERVER = 85  # one model number, three designs
_AMD = {
    ("Zen+", 23): ((0x08, 0x08), (0x18, 0x18)),
    ("Zen", 23): ((0x00, 0x2F), (0x50, 0x5F)),
    ("Zen 2", 23): ((0x30, 0x4F), (0x60, 0x7F), (0x90, 0x91), (0xA0, 0xAF)),
    ("Zen 3", 25): ((0x00, 0x0F), (0x20, 0x5F)),
    ("Zen 4", 25): ((0x10, 0x1F), (0x60, 0xAF)),
    ("Zen 5", 26): ((0x00, 0x2F), (0x40, 0x4F), (0x60, 0x7F)),
    ("Zen 6", 26): ((0x50, 0x5F), (0x80, 0xAF), (0xC0, 0xCF)),
}
_ARM: dict[int, Mapping[int, str]] = {
    0x41: {
        0xC05: "Cortex-A5", 0xC07: "Cortex-A7", 0xC08: "Cortex-A8", 0xC09: "Cortex-A9", 0xC0E: "Cortex-A17",
        0xC0F: "Cortex-A15", 0xD03: "Cortex-A53", 0xD04: "Cortex-A35", 0xD05: "Cortex-A55", 0xD06: "Cortex-A65",
        0xD07: "Cortex-A57", 0xD08: "Cortex-A72", 0xD09: "Cortex-A73", 0xD0A: "Cortex-A75", 0xD0B: "Cortex-A76",
        0xD0C: "Neoverse N1", 0xD0D: "Cortex-A77", 0xD0E: "Cortex-A76AE", 0xD40: "Neoverse V1", 0xD41: "Cortex-A78",
        0xD42: "Cortex-A78AE", 0xD44: "Cortex-X1", 0xD46: "Cortex-A510", 0xD47: "Cortex-A710", 0xD48: "Cortex-X2",
        0xD49: "Neoverse N2", 0xD4A: "Neoverse E1", 0xD4B: "Cortex-A78C", 0xD4C: "Cortex-X1C", 0xD4D: "Cortex-A715",
        0xD4E: "Cortex-X3", 0xD4F: "Neoverse V2", 0xD80: "Cortex-A520", 0xD81: "Cortex-A720", 0xD82: "Cortex-X4",
        0xD83: "Neoverse V3AE", 0xD84: "Neoverse V3", 0xD85: "Cortex-X925", 0xD87: "Cortex-A725",
        0xD8E: "Neoverse N3",
    },
    0x43: {0x0A1: "ThunderX", 0x0AF: "ThunderX2"},
    0x46: {0x001: "A64FX"},
    0x48: {0xD01: "TaiShan v110", 0xD02: "TaiShan v120"},
    0x4E: {0x003: "Denver 2", 0x004: "Carmel"},
    0x51: {
        0x001: "Oryon", 0x802: "Kryo 3xx Gold", 0x803: "Kryo 3xx Silver", 0x804: "Kryo 4xx Gold",
        0x805: "Kryo 4xx Silver", 0xC00: "Falkor", 0xC01: "Saphira",
    },
    0x61: {0x022: "Icestorm (M1)", 0x023: "Firestorm (M1)", 0x032: "Blizzard (M2)", 0x033: "Avalanche (M2)"},
    0x6D: {0xD49: "Neoverse N2 (Cobalt 100)"},
    0xC0: {0xAC3: "Ampere-1", 0xAC4: "Ampere-1A"},
}  # fmt: skip


def microarchitecture(kind: str) -> str:
    """The design of a kind of core as `core_kinds` writes it: "AuthenticAMD 26/2/1" is "Zen 5".

    "ARM 0x41/0xd0b r4p1" is "Cortex-A76". "unknown" for numbers that are not listed here: a design that is guessed
    from its neighbours would be wrong where it matters.
    """
    vendor, _, numbers = kind.partition(" ")
    try:
        if vendor == "ARM":
            implementer, part = (int(number, 16) for number in numbers.split()[0].split("/"))
            return _ARM.get(implementer, {}).get(part, UNKNOWN)
        family, model, stepping = (int(number) for number in numbers.split()[0].split("/"))
    except (ValueError, IndexError):
        return UNKNOWN
    if vendor == "GenuineIntel" and family == 6:
        return _intel(model, stepping)
    if vendor == "HygonGenuine" and family == 24:
        return "Zen"
    return _amd(family, model) if vendor == "AuthenticAMD" else UNKNOWN


def _intel(model: int, stepping: int) -> str:
    if model == _SKYLAKE_SERVER:
        return "Skylake" if stepping <= 4 else "Cascade Lake" if stepping <= 7 else "Cooper Lake"
    return next((name for name, models in _INTEL_6.items() if model in models), UNKNOWN)


def _amd(family: int, model: int) -> str:
    for (name, of), spans in _AMD.items():
        if of == family and any(low <= model <= high for low, high in spans):
            return name
    return UNKNOWN
