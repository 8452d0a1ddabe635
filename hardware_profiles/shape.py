"""Shape: heads and FFN width of every layer, all that latency depends on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["EncoderShape", "HasShape", "LayerWidths"]


class HasLayerWidths(Protocol):
    """A layer's widths; 0 where the block is removed."""

    @property
    def heads(self) -> int:
        """Attention heads."""
        ...

    @property
    def ffn(self) -> int:
        """FFN neurons."""
        ...


class HasShape(Protocol):
    """Anything with an encoder's shape: an optimizer's Architecture, or an EncoderShape."""

    @property
    def hidden_size(self) -> int:
        """Width of the residual stream."""
        ...

    @property
    def head_size(self) -> int:
        """Width of one head."""
        ...

    @property
    def layers(self) -> Sequence[HasLayerWidths]:
        """The layers that are left, in order."""
        ...


class LayerWidths(BaseModel):
    """Heads and FFN neurons of one layer; 0 where the block is removed."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    heads: int = Field(ge=0)
    ffn: int = Field(ge=0)


class EncoderShape(BaseModel):
    """The shape as a profile stores it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    hidden_size: int = Field(gt=0)
    head_size: int = Field(gt=0)
    layers: tuple[LayerWidths, ...]

    @classmethod
    def of(cls, shape: HasShape) -> EncoderShape:
        """Copy the shape of anything that has one."""
        layers = tuple(LayerWidths(heads=layer.heads, ffn=layer.ffn) for layer in shape.layers)
        return cls(hidden_size=shape.hidden_size, head_size=shape.head_size, layers=layers)

    @classmethod
    def uniform(cls, hidden_size: int, head_size: int, depth: int, heads: int, ffn: int) -> EncoderShape:
        """`depth` layers, all with `heads` heads and `ffn` neurons."""
        layers = (LayerWidths(heads=heads, ffn=ffn),) * depth
        return cls(hidden_size=hidden_size, head_size=head_size, layers=layers)
