"""LayerZeros: the shares of zeros of one encoder layer's linear layers, where these differ."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from hardware_profiles.shape import HasShape
from hardware_profiles.unit import Kind, block_weights

__all__ = ["PART_SHARES", "LayerZeros", "Sparsity", "has_zeros", "mean_sparsity"]

PART_SHARES: dict[Kind, tuple[float, float]] = {"attention": (0.75, 0.25), "ffn": (0.5, 0.5)}
"""A block's two parts by their share of its weights: what reads the hidden state (query, key and value; up), and what
writes it (the output projection; down)."""

_Share = Annotated[float, Field(ge=0, lt=1)]


class LayerZeros(BaseModel):
    """Share of zeros in the two parts of attention and in those of the FFN; 0 is a part that stays dense."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    attention: tuple[_Share, _Share] = (0.0, 0.0)
    ffn: tuple[_Share, _Share] = (0.0, 0.0)

    def of(self, kind: Kind) -> tuple[float, float]:
        """The shares of a block's parts."""
        return self.attention if kind == "attention" else self.ffn

    def times(self, factor: float) -> LayerZeros:
        """Every share times a factor up to 1."""
        (a, b), (c, d) = self.attention, self.ffn
        return LayerZeros(attention=(a * factor, b * factor), ffn=(c * factor, d * factor))

    @classmethod
    def even(cls, sparsity: float) -> LayerZeros:
        """The same share everywhere."""
        return cls(attention=(sparsity, sparsity), ffn=(sparsity, sparsity))


Sparsity = float | tuple[LayerZeros, ...]
"""Share of zeros of every linear layer alike, or of each layer's own, first to last."""


def has_zeros(sparsity: Sparsity) -> bool:
    """Whether any weight is zero."""
    if isinstance(sparsity, tuple):
        return any(max(*layer.attention, *layer.ffn) > 0 for layer in sparsity)
    return sparsity > 0


def mean_sparsity(shape: HasShape, sparsity: Sparsity) -> float:
    """Share of zeros among all weights in the linear layers of a model of this shape."""
    if not isinstance(sparsity, tuple):
        return sparsity
    zeros = total = 0.0
    for layer, shares in zip(shape.layers, sparsity, strict=True):
        blocks: tuple[tuple[Kind, int], ...] = (("attention", layer.heads), ("ffn", layer.ffn))
        for kind, width in blocks:
            weights = block_weights(kind, width, shape.hidden_size, shape.head_size)
            total += weights
            zeros += weights * sum(a * b for a, b in zip(PART_SHARES[kind], shares.of(kind), strict=True))
    return zeros / total if total else 0.0
