"""ProfileRequest: what a profile is asked to know."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from benchmarks.workload import Workload
from hardware_profiles.shape import EncoderShape
from hardware_profiles.unit import Kind, Unit, weight_bytes
from hardware_profiles.widths import anchor_shapes, ffn_widths, head_widths, ladder

__all__ = ["SPARSITIES", "Effort", "ProfileRequest"]

Effort = Literal["fast", "default", "thorough"]

SPARSITIES = (0.5, 0.7, 0.8, 0.9, 0.95)
_RUNG_BYTES = 0.6e6  # of the unit that chains of a ladder repeat
_REFERENCE_BYTES = 1e6  # of weights in each of the reference's two blocks


@dataclass(frozen=True)
class ProfileRequest:
    """What is to be known: one hidden size at one workload, for models up to these widths and this depth."""

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

    def unit(self, kind: Kind, width: int = 0, sparsity: float = 0.0) -> Unit:
        """A unit of this request's sizes."""
        return Unit(
            kind=kind,
            hidden_size=self.hidden_size,
            head_size=self.head_size,
            width=width,
            activation=self.activation,
            pattern="unstructured" if sparsity else "dense",
            sparsity=sparsity,
        )

    def units(self, kind: Kind) -> tuple[Unit, ...]:
        """Units to be timed in turns: every width, and the widest with zeros."""
        widths = head_widths(self.max_heads) if kind == "attention" else ffn_widths(self.max_ffn)
        dense = (self.unit(kind, width) for width in widths)
        return (*dense, *(self.unit(kind, widths[-1], sparsity) for sparsity in self.sparsities))

    @property
    def anchors(self) -> dict[str, EncoderShape]:
        """Whole models to be timed."""
        heads, ffn = head_widths(self.max_heads), ffn_widths(self.max_ffn)
        return anchor_shapes(self.hidden_size, self.head_size, heads, ffn, self.depth)

    def ladder(self, precision: str) -> tuple[tuple[Unit, int], ...]:
        """(FFN unit, copies) of chains that hold ever more weights."""

        def bytes_of(width: int) -> float:
            return weight_bytes(self.unit("ffn", width).weights, precision)

        width = min(ffn_widths(self.max_ffn)[1:], key=lambda width: abs(bytes_of(width) - _RUNG_BYTES))
        layer = self.unit("attention", self.max_heads).weights + self.unit("ffn", self.max_ffn).weights
        model_bytes = weight_bytes(self.depth * layer, precision)
        return tuple((self.unit("ffn", width), copies) for copies in ladder(bytes_of(width), model_bytes))

    @property
    def reference(self) -> EncoderShape:
        """The layer that is timed with everything, as a clock: so small that it runs from the caches."""
        heads, ffn = head_widths(self.max_heads)[1:], ffn_widths(self.max_ffn)[1:]
        size = {width: weight_bytes(self.unit("attention", width).weights, "fp32") for width in heads}
        small = max((width for width in heads if size[width] <= _REFERENCE_BYTES), default=heads[0])
        size = {width: weight_bytes(self.unit("ffn", width).weights, "fp32") for width in ffn}
        narrow = max((width for width in ffn if size[width] <= _REFERENCE_BYTES), default=ffn[0])
        return EncoderShape.uniform(self.hidden_size, self.head_size, 1, small, narrow)
