"""CoreKinds: which kinds of core a process may run on. A big.LITTLE chip has several."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from benchmarks.affinity import cpu_numbers
from hardware_profiles.microarchitecture import microarchitecture

__all__ = ["core_kinds", "in_words", "read_core_kinds"]

CPUINFO = Path("/proc/cpuinfo")
EFFICIENT = Path("/sys/devices/cpu_atom/cpus")  # Intel's hybrids: both kinds of core give the same numbers

_X86 = ("cpu family", "model", "stepping")
_ARM = ("cpu implementer", "cpu part")


def read_core_kinds(allowed: Collection[int]) -> dict[str, int]:
    """The kinds of the CPUs in `allowed` (all where it is empty) and how many there are; {} where nobody tells."""
    try:
        text = CPUINFO.read_text()
    except OSError:
        return {}
    try:
        efficient = cpu_numbers(EFFICIENT.read_text())
    except (OSError, ValueError):
        efficient = ()
    return core_kinds(text, allowed, efficient)


def core_kinds(cpuinfo: str, allowed: Collection[int], efficient: Collection[int] = ()) -> dict[str, int]:
    """How many CPUs there are of each kind, e.g. {"AuthenticAMD 26/2/1": 2} or {"ARM 0x41/0xd0b r4p1": 4}.

    Args:
        cpuinfo: text of /proc/cpuinfo: a paragraph for each CPU.
        allowed: numbers of the CPUs to count; all where it is empty.
        efficient: those that are the smaller ones of a hybrid x86 chip.
    """
    found = Counter(
        kind + (" efficient" if number in efficient else "")
        for number, facts in _processors(cpuinfo)
        if (not allowed or number in allowed) and (kind := _kind(facts))
    )
    return dict(sorted(found.items()))


def in_words(kinds: Mapping[str, int]) -> str:
    """The designs, e.g. "Zen 5"; where there are several with their numbers: "4 x Cortex-A55 + 4 x Cortex-A76"."""
    names: Counter[str] = Counter()
    for kind, count in kinds.items():
        names[microarchitecture(kind) + (" (efficient cores)" if kind.endswith(" efficient") else "")] += count
    if len(names) < 2:
        return next(iter(names), "unknown")
    return " + ".join(f"{count} x {name}" for name, count in names.items())


def _processors(cpuinfo: str) -> Iterator[tuple[int, dict[str, str]]]:
    for paragraph in cpuinfo.split("\n\n"):
        pairs = (line.partition(":") for line in paragraph.splitlines())
        facts = {key.strip().lower(): value.strip() for key, _, value in pairs}
        if facts.get("processor", "").isdigit():
            yield int(facts["processor"]), facts


def _kind(facts: Mapping[str, str]) -> str:
    """Empty where the kernel gives no numbers. ARM's variant and revision are what steppings are to x86."""
    if all(field in facts for field in _ARM):
        revision = f"r{int(facts.get('cpu variant', '0'), 16)}p{facts.get('cpu revision', '0')}"
        return f"ARM {'/'.join(facts[field].lower() for field in _ARM)} {revision}"
    if all(field in facts for field in _X86):
        vendor = facts.get("vendor_id", "x86").replace(" ", "")
        return f"{vendor} {'/'.join(facts[field] for field in _X86)}"
    return ""
