"""Layer pairs: which layer and heads of the teacher each of the student's is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from benchmarks.errors import TrimfitError
from optimizer.architecture import Architecture
from optimizer.surgery import SurgeryReport

__all__ = ["Places", "Rule", "pair_up", "spread"]

Rule = Literal["origins", "uniform", "last", "top", "learned"]
"""Which layers belong together, of a student with M layers and a teacher with N.

origins: each with the one it was cut from (uniform where that is not known); uniform: the m-th with the
ceil(m N / M)-th; last: the m-th with the (N - M + m)-th; top: the last with the last, no others;
learned: the objective finds out, among all of the student's layers with an FFN and 4 of the teacher's.
"""

LEARNED_FROM = 4  # teacher layers that are looked for in the student: every third of 12, as CoFi does

Heads = tuple[int, ...] | None


@dataclass(frozen=True)
class Places:
    """Where in a model signals are read: layers for hidden states, and layers with their heads (None: all)."""

    hidden: tuple[int, ...] = ()
    attention: tuple[tuple[int, Heads], ...] = ()


def spread(few: int, many: int) -> tuple[int, ...]:
    """`few` of `many` layers at even distances, the last one included: every other layer of 6 is 1, 3, 5.

    g(m) = m N / M of Jiao et al. 2020, "TinyBERT", section 3.1, counted from 0; where N / M is not whole, rounded up.
    """
    return tuple(-(-(m + 1) * many // few) - 1 for m in range(few))


def pair_up(
    rule: Rule, student: Architecture, teacher: Architecture, origin: SurgeryReport | None, *, by_head: bool
) -> tuple[Places, Places]:
    """Places in the student and in the teacher, paired one to one (the hidden states of "learned" are not).

    Args:
        rule: which layers belong together.
        student: its shape.
        teacher: its shape.
        origin: what the student kept of the teacher, where that is known.
        by_head: each head of the student gets a head of the teacher: the one it was, in the layer it comes from; else,
            with as many heads in both, the one of its number. A layer whose heads have no counterpart in the layer
            that the rule names is compared with the layer it comes from.

    Attention that was removed is compared with nothing. Raises TrimfitError where heads have no counterpart.
    """
    if origin is not None and origin.before.layers != teacher.layers:
        raise ValueError("the surgery did not start from this teacher: compose the reports of all cuts")
    partner = _partners(rule, student.depth, teacher.depth, origin)
    attention = []
    for layer in _with_heads(rule, student):
        there, heads = partner[layer], None
        if by_head:
            there, heads = _counterparts(layer, there, student, teacher, origin)
        if teacher.layers[there].heads:
            attention.append((layer, there, heads))
    mine, theirs = _hidden(rule, student, teacher.depth, partner)
    return (
        Places(mine, tuple((layer, None) for layer, _, _ in attention)),
        Places(theirs, tuple((there, heads) for _, there, heads in attention)),
    )


def _partners(rule: Rule, few: int, many: int, origin: SurgeryReport | None) -> tuple[int, ...]:
    if rule == "origins" and origin is not None:
        return tuple(layer.layer for layer in origin.layers)
    if rule == "last":
        return tuple(max(0, many - few + m) for m in range(few))
    if rule == "top":
        return (many - 1,) * few
    return spread(few, many)


def _with_heads(rule: Rule, student: Architecture) -> list[int]:
    found = [index for index, layer in enumerate(student.layers) if layer.heads]
    return found[-1:] if rule == "top" else found


def _hidden(
    rule: Rule, student: Architecture, depth: int, partner: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    everywhere = tuple(range(student.depth))
    if rule == "top":
        return everywhere[-1:], partner[-1:]
    if rule == "learned":
        with_ffn = tuple(index for index in everywhere if student.layers[index].ffn)
        return with_ffn or everywhere, spread(min(LEARNED_FROM, depth), depth)
    return everywhere, partner


def _counterparts(
    layer: int, there: int, student: Architecture, teacher: Architecture, origin: SurgeryReport | None
) -> tuple[int, Heads]:
    """The teacher's layer and, for each of the student's heads, the one of its heads that it is compared with."""
    if origin is not None and origin.layers[layer].layer == there:
        return there, origin.layers[layer].heads
    if student.layers[layer].heads == teacher.layers[there].heads:
        return there, None
    if origin is not None:
        return origin.layers[layer].layer, origin.layers[layer].heads
    raise TrimfitError(
        f"got {student.layers[layer].heads} heads in layer {layer} of the student and {teacher.layers[there].heads} in "
        f"layer {there} of the teacher, expected as many: use the objective minilmv2, which needs no equal heads"
    )
