"""The CPU of this machine: its name and its instruction sets."""

from __future__ import annotations

from collections.abc import Collection

from benchmarks.environment import read_environment
from hardware_profiles.core_kinds import read_core_kinds

__all__ = ["cpu_name", "instruction_sets", "multiplies_int8_exactly"]

# the instruction sets that decide which kernels a runtime takes
_NOTABLE = (
    "sse4_1", "avx", "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512bw", "avx512vl", "avx512_vnni",
    "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16",
    "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "sme",
)  # fmt: skip
_EXACT_INT8 = {"avx_vnni", "avx512_vnni", "amx_int8", "asimd"}
_OTHER_NAMES = {"avxvnni": "avx_vnni", "avx512vnni": "avx512_vnni"}  # as py-cpuinfo says elsewhere


def cpu_name() -> str:
    """E.g. "AMD EPYC (26/2/1)": virtual machines hide the exact name, family/model/stepping tell it apart."""
    numbers = [kind.split()[1] for kind in read_core_kinds(()) if not kind.startswith("ARM")]
    return read_environment().cpu + (f" ({numbers[0]})" if numbers else "")


def instruction_sets(flags: Collection[str] | None = None) -> tuple[str, ...]:
    """The notable instruction sets among the kernel's `flags`, in a fixed order; of this CPU where None."""
    found = {_OTHER_NAMES.get(flag, flag) for flag in (read_environment().isa if flags is None else flags)}
    return tuple(flag for flag in _NOTABLE if flag in found)


def multiplies_int8_exactly(isa: tuple[str, ...]) -> bool:
    """Whether unsigned x signed 8-bit products add up without saturating in 16 bits (x86: VNNI)."""
    return bool(_EXACT_INT8.intersection(isa))
