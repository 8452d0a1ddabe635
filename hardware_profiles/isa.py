"""The CPU of this machine: its name and its instruction sets."""

from __future__ import annotations

from pathlib import Path

from benchmarks.environment import read_environment

__all__ = ["cpu_name", "instruction_sets", "multiplies_int8_exactly"]

# the instruction sets that decide which kernels a runtime takes
_NOTABLE = (
    "sse4_1", "avx", "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512bw", "avx512vl", "avx512_vnni",
    "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16",
    "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "sme",
)  # fmt: skip
_EXACT_INT8 = {"avx_vnni", "avx512_vnni", "amx_int8", "asimd"}
_OTHER_NAMES = {"avxvnni": "avx_vnni", "avx512vnni": "avx512_vnni"}  # as py-cpuinfo says elsewhere
_MODEL_FIELDS = ("cpu family", "model", "stepping")


def cpu_name() -> str:
    """E.g. "AMD EPYC (26/2/1)": virtual machines hide the exact name, family/model/stepping tell it apart."""
    numbers = _model_numbers()
    return read_environment().cpu + (f" ({'/'.join(numbers)})" if numbers else "")


def instruction_sets() -> tuple[str, ...]:
    """The notable instruction sets of this CPU, in a fixed order."""
    found = {_OTHER_NAMES.get(flag, flag) for flag in read_environment().isa}
    return tuple(flag for flag in _NOTABLE if flag in found)


def multiplies_int8_exactly(isa: tuple[str, ...]) -> bool:
    """Whether unsigned x signed 8-bit products add up without saturating in 16 bits (x86: VNNI)."""
    return bool(_EXACT_INT8.intersection(isa))


def _model_numbers() -> list[str]:
    try:
        first_processor = Path("/proc/cpuinfo").read_text().split("\n\n", 1)[0]
    except OSError:
        return []
    pairs = (line.split(":", 1) for line in first_processor.splitlines() if ":" in line)
    facts = {key.strip(): value.strip() for key, value in pairs}
    return [facts[field] for field in _MODEL_FIELDS if field in facts]
