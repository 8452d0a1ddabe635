"""ProfileRequest: what a profile is asked to know."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

from benchmarks.gpu.place import gpu_in_force
from benchmarks.workload import Workload
from hardware_profiles.shape import EncoderShape
from hardware_profiles.unit import Kind, Pattern, Unit, weight_bytes, zeros_in_words
from hardware_profiles.widths import anchor_shapes, ffn_widths, head_widths, ladder, more_anchor_shapes, nearest, spread

__all__ = ["SKIPPED", "SPARSITIES", "TWO_OF_FOUR", "Effort", "ProfileRequest", "Whole"]

Effort = Literal["fast", "default", "thorough"]

SPARSITIES = (0.5, 0.7, 0.8, 0.9, 0.95)
SKIPPED: dict[str, Pattern] = {"fp32": "unstructured", "int8": "block", "fp16": "n:m"}
"""The zeros that sparse operators, or a GPU's kernels, skip at a precision."""
TWO_OF_FOUR = 0.5
"""The share of zeros of 2:4, of which there is no more and no less."""
_MORE_SPARSITIES = (0.6, 0.7, 0.85, 0.975)  # when thorough
_NARROWER: dict[Effort, tuple[float, ...]] = {
    "fast": (0.2,),
    "default": (0.12, 0.4),
    "thorough": (0.06, 0.12, 0.25, 0.4),
}
"""Shares of the width at which zeros are timed too: of what a narrow sparse layer does, less is for its weights."""
_SPARSITIES_WHERE_NARROWER = 3
_WHOLE_SPARSITIES = ((1.0, 1.0, 0.8), (1.0, 1.0, 0.95), (0.5, 1.0, 0.9), (0.5, 0.25, 0.8))
"""(Share of the depth, of the width, of zeros.)"""
_WIDTHS_OF_PART, _SPARSITIES_OF_PART, _RUNGS_OF_PART = 4, 2, 5  # of the lesser lengths of a mix
_WHOLES_OF_PART = ("full", "half the depth, a quarter of the width", "one narrow layer")
_MORE_WHOLE_SPARSITIES = ((1.0, 1.0, 0.9), (0.5, 1.0, 0.8), (0.5, 0.5, 0.95))
_UNEVEN_SPARSITY = 0.7  # of a whole model whose layers differ in width
_RUNG_BYTES = 0.6e6  # of the unit that chains of a ladder repeat
_REFERENCE_BYTES = 1e6  # of weights in each of the reference's two blocks


@dataclass(frozen=True)
class Whole:
    """A whole model to be timed."""

    shape: EncoderShape
    pattern: Pattern = "dense"
    sparsity: float = 0.0


@dataclass(frozen=True)
class ProfileRequest:
    """What is to be known: one hidden size at one workload, for models up to these widths and this depth.

    `sparse` asks a runtime that skips zeros only what the stock runtime's profile cannot tell: blocks and models
    with the zeros it skips, the dense block they are compared with, and the sparsity at which layers break even.
    `thin` asks for fewer widths, sparsities and whole models: of a workload of several lengths, one is known in full.
    `machine` also asks for the machine's peak and what threads bring, a matter of seconds. A thorough budget asks for
    that too, for more sparsities and for more whole models.
    """

    hidden_size: int
    head_size: int
    max_heads: int
    max_ffn: int
    depth: int
    workload: Workload = field(default_factory=lambda: Workload())
    precisions: tuple[str, ...] = ("fp32", "int8")
    sparsities: tuple[float, ...] = SPARSITIES
    activation: str = "gelu"
    budget: Effort = "default"
    sparse: bool = False
    thin: bool = False

    def parts(self) -> tuple[ProfileRequest, ...]:
        """A request for each length of the workload: the one with most tokens in full, first, the others thin."""
        points = self.workload.points()
        most = max(points, key=lambda entry: entry[0].seq_len * entry[1])
        others = (replace(self, workload=point, thin=True) for point, share in points if (point, share) != most)
        return (replace(self, workload=most[0]), *others)

    machine: bool = False

    @property
    def asks_for_machine(self) -> bool:
        """Whether the machine's peak and what threads bring are to be known; of the stock runtime only."""
        return (self.machine or self.budget == "thorough") and not self.sparse

    @property
    def in_groups(self) -> bool:
        """Whether the zeros that are asked about are 2:4: one share of them, and layers that all take part."""
        return self.sparse and self.sparsities == (TWO_OF_FOUR,)

    @property
    def all_sparsities(self) -> tuple[float, ...]:
        """The shares of zeros that are measured, ascending; none where none was asked for."""
        more = _MORE_SPARSITIES if self.sparsities and self.budget == "thorough" and not self.in_groups else ()
        return tuple(sorted({*self.sparsities, *more}))

    def pattern(self, precision: str) -> Pattern:
        """Which zeros are measured at a precision."""
        return SKIPPED.get(precision, "unstructured") if self.sparse else "unstructured"

    def unit(self, kind: Kind, width: int = 0, sparsity: float = 0.0, pattern: Pattern = "unstructured") -> Unit:
        """A unit of this request's sizes."""
        return Unit(
            kind=kind,
            hidden_size=self.hidden_size,
            head_size=self.head_size,
            width=width,
            activation=self.activation,
            pattern=pattern if sparsity else "dense",
            sparsity=sparsity,
        )

    def units(self, kind: Kind, precision: str = "fp32", more_zeros: Iterable[float] = ()) -> tuple[Unit, ...]:
        """Units to be timed in turns: every width, and the widest with zeros; `sparse` adds zeros in narrower ones.

        `more_zeros` are further shares of them at all those widths.
        """
        widths = head_widths(self.max_heads) if kind == "attention" else ffn_widths(self.max_ffn)
        sparsities = self.all_sparsities
        if self.thin:
            widths = (0, *spread(widths[1:], _WIDTHS_OF_PART))
            sparsities = spread(sparsities, _SPARSITIES_OF_PART)
        with_zeros = {widths[-1]: sparsities}
        if self.sparse:
            few = spread(self.sparsities, _SPARSITIES_WHERE_NARROWER)
            shares = _NARROWER["fast" if self.thin else self.budget]
            with_zeros = {nearest(widths, share): few for share in shares} | with_zeros
        with_zeros = {width: tuple(sorted({*known, *more_zeros})) for width, known in with_zeros.items()}
        pattern = self.pattern(precision)
        dense = (self.unit(kind, width) for width in (sorted(with_zeros) if self.sparse else widths))
        zeros = (self.unit(kind, width, zeros, pattern) for width in sorted(with_zeros) for zeros in with_zeros[width])
        return (*dense, *zeros)

    def anchors(self, precision: str = "fp32") -> dict[str, Whole]:
        """Whole models to be timed, by name."""
        if self.sparse:
            return self._with_zeros(self.pattern(precision))
        heads, ffn = head_widths(self.max_heads), ffn_widths(self.max_ffn)
        shapes = anchor_shapes(self.hidden_size, self.head_size, heads, ffn, self.depth)
        if self.budget == "thorough":
            shapes |= more_anchor_shapes(self.hidden_size, self.head_size, heads, ffn, self.depth)
        return {name: Whole(shape) for name, shape in shapes.items() if not self.thin or name in _WHOLES_OF_PART}

    def linears(self) -> tuple[tuple[int, int], ...]:
        """(out_features, in_features) of the linear layers of a full block, each once."""
        hidden, width = self.hidden_size, self.max_heads * self.head_size
        shapes = ((width, hidden), (hidden, width), (self.max_ffn, hidden), (hidden, self.max_ffn))
        return tuple(dict.fromkeys(shapes))

    def _with_zeros(self, pattern: Pattern) -> dict[str, Whole]:
        found = {}
        wanted = (*_WHOLE_SPARSITIES, *(_MORE_WHOLE_SPARSITIES if self.budget == "thorough" else ()))
        if self.in_groups:
            wanted = tuple((depth, width, TWO_OF_FOUR) for depth, width in ((1.0, 1.0), (0.5, 1.0), (0.5, 0.5)))
        all_heads, all_ffn = head_widths(self.max_heads), ffn_widths(self.max_ffn)
        for depth_share, width_share, sparsity in spread(wanted[: len(_WHOLE_SPARSITIES)], 2) if self.thin else wanted:
            if sparsity <= max(self.sparsities, default=0.0):
                depth = max(1, round(depth_share * self.depth))
                heads, ffn = nearest(all_heads, width_share), nearest(all_ffn, width_share)
                shape = EncoderShape.uniform(self.hidden_size, self.head_size, depth, heads, ffn)
                width = f" of {heads} heads" if width_share < 1 else ""
                name = f"{depth} layers{width}, {zeros_in_words(pattern, sparsity)}"
                found[name] = Whole(shape, pattern, sparsity)
        if not self.in_groups and not self.thin and max(self.sparsities, default=0.0) >= _UNEVEN_SPARSITY:
            # as cut students are; each of their layers pays for its threads apart
            uneven = anchor_shapes(self.hidden_size, self.head_size, all_heads, all_ffn, self.depth)["uneven"]
            name = f"uneven, {zeros_in_words(pattern, _UNEVEN_SPARSITY)}"
            found[name] = Whole(uneven, pattern, _UNEVEN_SPARSITY)
        return found

    def ladder(self, precision: str) -> tuple[tuple[Unit, int], ...]:
        """(FFN unit, copies) of chains that hold ever more weights."""
        if self.sparse:
            return ()

        def bytes_of(width: int) -> float:
            return weight_bytes(self.unit("ffn", width).weights, precision)

        width = min(ffn_widths(self.max_ffn)[1:], key=lambda width: abs(bytes_of(width) - _RUNG_BYTES))
        layer = self.unit("attention", self.max_heads).weights + self.unit("ffn", self.max_ffn).weights
        model_bytes = weight_bytes(self.depth * layer, precision)
        place = gpu_in_force()
        rungs = ladder(bytes_of(width), model_bytes, place.gpu.l2_bytes if place else 0.0)
        return tuple(
            (self.unit("ffn", width), copies) for copies in (spread(rungs, _RUNGS_OF_PART) if self.thin else rungs)
        )

    @property
    def reference(self) -> EncoderShape:
        """The layer that is timed with everything, as a clock: so small that it runs from the caches."""
        heads, ffn = head_widths(self.max_heads)[1:], ffn_widths(self.max_ffn)[1:]
        size = {width: weight_bytes(self.unit("attention", width).weights, "fp32") for width in heads}
        small = max((width for width in heads if size[width] <= _REFERENCE_BYTES), default=heads[0])
        size = {width: weight_bytes(self.unit("ffn", width).weights, "fp32") for width in ffn}
        narrow = max((width for width in ffn if size[width] <= _REFERENCE_BYTES), default=ffn[0])
        return EncoderShape.uniform(self.hidden_size, self.head_size, 1, small, narrow)
