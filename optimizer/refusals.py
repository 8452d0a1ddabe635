"""Refusals: the sentences that say why a way to a smaller model cannot pay on a device."""

from __future__ import annotations

__all__ = [
    "multiplied",
    "no_kernel",
    "not_paying",
    "only_a_reference",
    "too_few_zeros",
    "too_little_at_most",
    "too_slow_as_it_is",
    "too_slow_at_its_smallest",
]


def multiplied(name: str, speedup: float, runtime: str) -> str:
    """Zeros on a runtime that gains nothing by them."""
    return f"{_measured(name, speedup, runtime)}: this runtime does not skip zeros"


def no_kernel(name: str, runtime: str, groups: str) -> str:
    """Groups of zeros, such as 2:4, on a runtime that multiplies by them."""
    return f"{name}: {runtime} has no kernel for {groups}, no more than any CPU: it would multiply by these zeros"


def not_paying(name: str, speedup: float, runtime: str, precision: str) -> str:
    """Zeros on a runtime that skips them, on a device where even the most are no faster than none."""
    return f"{_measured(name, speedup, runtime)}: on this device zeros do not pay in {precision}"


def only_a_reference(name: str, speedup: float, runtime: str, deployed: str) -> str:
    """Zeros that pay with a runtime that is not the one that would be deployed with."""
    return (
        f"{_measured(name, speedup, runtime)}, a reference: what is deployed runs with {deployed}, which gains nothing"
    )


def too_few_zeros(name: str, speedup: float, runtime: str, predicted_ms: float, wanted_ms: float) -> str:
    """Even the most zeros that were measured do not reach the latency."""
    return f"{_measured(name, speedup, runtime)}, {predicted_ms:.2f} ms predicted, {wanted_ms:.2f} ms wanted"


def too_slow_as_it_is(name: str, measured_ms: float, wanted: str) -> str:
    """A model that is taken as it is and was measured."""
    return f"{name}: {measured_ms:.2f} ms measured, {wanted}"


def too_slow_at_its_smallest(name: str, least_ms: float, wanted: str) -> str:
    """Nothing that is left by this pattern reaches what is `wanted`, e.g. "2.00 ms wanted"."""
    return f"{name}: even its smallest shape takes {least_ms:.2f} ms, {wanted}"


def too_little_at_most(name: str, ratio: tuple[float, float, float], wanted: float) -> str:
    """The hardest of a kind brings too little where milliseconds are known as spans only; (value, low, high) ratios."""
    value, low, high = ratio
    return f"{name}: {value:.2f}x ({low:.2f} to {high:.2f}) predicted at most, {wanted:g}x wanted"


def _measured(name: str, speedup: float, runtime: str) -> str:
    return f"{name}: {speedup:.2f}x measured on {runtime}"
