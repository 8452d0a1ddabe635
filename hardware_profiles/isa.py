"""The CPU of this machine: its name and its instruction sets."""

from __future__ import annotations

import platform
from functools import lru_cache
from pathlib import Path

import cpuinfo

__all__ = ["cpu_name", "instruction_sets", "multiplies_int8_exactly"]

# the instruction sets that decide which kernels a runtime takes
_NOTABLE = (
    "sse4_1", "avx", "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512bw", "avx512vl", "avx512_vnni",
    "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16",
    "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "sme",
)  # fmt: skip
_EXACT_INT8 = {"avx_vnni", "avx512_vnni", "amx_int8", "asimd"}
_OTHER_NAMES = {"avxvnni": "avx_vnni", "avx512vnni": "avx512_vnni"}


def cpu_name() -> str:
    """E.g. "AMD EPYC (26/2/1)": virtual machines hide the exact name, family/model/stepping tell it apart."""
    return _cpu()[0]


def instruction_sets() -> tuple[str, ...]:
    """The notable instruction sets of this CPU, in a fixed order."""
    return tuple(flag for flag in _NOTABLE if flag in _cpu()[1])


def multiplies_int8_exactly(isa: tuple[str, ...]) -> bool:
    """Whether unsigned x signed 8-bit products are added up without saturating in 16 bits (x86 needs VNNI)."""
    return bool(_EXACT_INT8.intersection(isa))


@lru_cache(maxsize=1)
def _cpu() -> tuple[str, frozenset[str]]:
    """From Linux itself; from py-cpuinfo, which takes a second, elsewhere."""
    facts = _proc_cpuinfo()
    flags = facts.get("flags") or facts.get("Features") or ""
    name = facts.get("model name")
    if not (name and flags):
        info = cpuinfo.get_cpu_info()
        name = info.get("brand_raw") or platform.processor() or platform.machine()
        flags = flags or " ".join(info.get("flags", ()))
    numbers = [facts.get(key) for key in ("cpu family", "model", "stepping")]
    family = f" ({'/'.join(number or '?' for number in numbers)})" if any(numbers) else ""
    return name + family, frozenset(_OTHER_NAMES.get(flag, flag) for flag in flags.split())


def _proc_cpuinfo() -> dict[str, str]:
    try:
        first_processor = Path("/proc/cpuinfo").read_text().split("\n\n", 1)[0]
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in first_processor.splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}
