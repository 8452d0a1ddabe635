"""The CPU that models run on: its name and its instruction sets."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from benchmarks.place import current_place
from hardware_profiles.core_kinds import in_words
from hardware_profiles.microarchitecture import UNKNOWN

__all__ = ["cpu_name", "instruction_sets", "multiplies_int8_exactly", "read_board"]

# the instruction sets that decide which kernels a runtime takes
_NOTABLE = (
    "sse4_1", "avx", "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512bw", "avx512vl", "avx512_vnni",
    "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16",
    "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "sme",
)  # fmt: skip
_EXACT_INT8 = {"avx_vnni", "avx512_vnni", "amx_int8", "asimd"}
_OTHER_NAMES = {"avxvnni": "avx_vnni", "avx512vnni": "avx512_vnni"}  # as py-cpuinfo says elsewhere
_BOARD = Path("/proc/device-tree/model")


def cpu_name(cpu: str, kinds: Mapping[str, int], board: str) -> str:
    """E.g. "AMD EPYC (26/2/1)": virtual machines hide the exact name, family/model/stepping tell it apart.

    ARM's kernels give no names: there it is "Raspberry Pi 4 Model B Rev 1.4 (Cortex-A72)", or the cores' names alone.

    Args:
        cpu: what the machine's kernel calls it.
        kinds: of all its cores, as `core_kinds` counts them.
        board: what the machine is called; empty where it has no name.
    """
    if any(kind.startswith("ARM") for kind in kinds):
        cores = in_words(kinds)
        known = cores if cores != UNKNOWN else cpu
        return f"{board} ({known})" if board else known
    return cpu + (f" ({next(iter(kinds)).split()[1]})" if kinds else "")


def read_board() -> str:
    """What the device tree calls this machine; empty where there is none."""
    try:
        return _BOARD.read_text(errors="replace").replace("\0", "").strip()
    except OSError:
        return ""


def instruction_sets(flags: Collection[str] | None = None) -> tuple[str, ...]:
    """The notable instruction sets among the kernel's `flags`, in a fixed order; None: of the place in force."""
    found = {_OTHER_NAMES.get(flag, flag) for flag in (current_place().isa if flags is None else flags)}
    return tuple(flag for flag in _NOTABLE if flag in found)


def multiplies_int8_exactly(isa: tuple[str, ...]) -> bool:
    """Whether unsigned x signed 8-bit products add up without saturating in 16 bits (x86: VNNI)."""
    return bool(_EXACT_INT8.intersection(isa))
