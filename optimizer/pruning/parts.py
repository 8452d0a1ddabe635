"""Parts: the linear layers of an encoder layer that get one share of zeros, as prices know them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedModel

from hardware_profiles.layer_zeros import LayerZeros, Sparsity
from hardware_profiles.unit import Kind
from optimizer.encoders import EncoderLayer, walk

__all__ = ["PARTS", "Part", "all_parts", "by_layer", "parts_of", "share_of"]

PARTS: tuple[tuple[Kind, int, tuple[str, ...]], ...] = (
    ("attention", 0, ("query", "key", "value")),
    ("attention", 1, ("attention_output",)),
    ("ffn", 0, ("up",)),
    ("ffn", 1, ("down",)),
)
"""(block, 0 for what reads the hidden state or 1 for what writes it, linear layers), in the order of `LayerZeros`."""


@dataclass(frozen=True)
class Part:
    """One part of one layer of a model, with the linear layers in it by name."""

    layer: int
    kind: Kind
    side: int
    linears: dict[str, nn.Linear]

    @property
    def key(self) -> tuple[int, Kind, int]:
        """Layer, block and side."""
        return self.layer, self.kind, self.side


def parts_of(layer: EncoderLayer, index: int) -> Iterator[Part]:
    """The parts of a layer; those of a removed block are left out."""
    linears = layer.linears()
    for kind, side, names in PARTS:
        if names[0] in linears:
            yield Part(index, kind, side, {name: linears[name] for name in names})


def all_parts(model: PreTrainedModel) -> list[Part]:
    """The parts of every layer of a model, first to last."""
    return [part for index, layer in enumerate(walk(model).layers) for part in parts_of(layer, index)]


def share_of(part: Part, shares: Sparsity) -> float:
    """The share of zeros of a part."""
    return shares[part.layer].of(part.kind)[part.side] if isinstance(shares, tuple) else shares


def by_layer(depth: int, shares: dict[tuple[int, Kind, int], float]) -> tuple[LayerZeros, ...]:
    """The shares of parts (layer, block, side) as each layer's; a part that is not named stays dense."""

    def pair(layer: int, kind: Kind) -> tuple[float, float]:
        return shares.get((layer, kind, 0), 0.0), shares.get((layer, kind, 1), 0.0)

    return tuple(LayerZeros(attention=pair(index, "attention"), ffn=pair(index, "ffn")) for index in range(depth))
