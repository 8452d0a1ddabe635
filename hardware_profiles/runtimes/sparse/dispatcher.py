"""Dispatcher: which instruction sets the sparse operators use on this CPU, and how they are kept from some.

As csrc/dispatch.c, which reads the environment variable when a model is loaded.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from hardware_profiles.isa import instruction_sets

__all__ = ["LIMIT", "current_limit", "environment", "in_words", "limited_to", "operator_isas"]

LIMIT = "TRIMFIT_ISA"

_NEEDED = {  # best first
    "avx512vnni": {"fma", "avx2", "avx512f", "avx512bw", "avx512vl", "avx512_vnni"},
    "avx512": {"fma", "avx2", "avx512f", "avx512bw", "avx512vl"},
    "avx2": {"fma", "avx2"},
    "neondot": {"asimd", "asimddp"},
    "neon": {"asimd"},
}
_WORDS = {
    "avx512vnni": "AVX-512 VNNI",
    "avx512": "AVX-512",
    "avx2": "AVX2",
    "neondot": "NEON dot product",
    "neon": "NEON",
}


def operator_isas(flags: Collection[str] | None = None) -> tuple[str, ...]:
    """What the operators can use on a CPU with these instruction sets (None: this one), best first."""
    found = set(instruction_sets() if flags is None else flags)
    return tuple(name for name, needed in _NEEDED.items() if needed <= found)


def in_words(isa: str) -> str:
    """E.g. "AVX-512 VNNI"."""
    return _WORDS.get(isa, isa)


def current_limit() -> str | None:
    """What the environment restricts the operators to; None where they use the best that this CPU has."""
    limit = os.environ.get(LIMIT)
    return limit if limit in operator_isas()[1:] else None


def environment() -> dict[str, str]:
    """The environment variable that keeps a process of its own to the same; empty where they are not restricted."""
    limit = current_limit()
    return {LIMIT: limit} if limit else {}


@contextmanager
def limited_to(isa: str | None) -> Iterator[None]:
    """Within it, models that this process or one it starts loads use at most `isa`; None: the best there is."""
    before = os.environ.pop(LIMIT, None)
    if isa is not None:
        os.environ[LIMIT] = isa
    try:
        yield
    finally:
        os.environ.pop(LIMIT, None)
        if before is not None:
            os.environ[LIMIT] = before
