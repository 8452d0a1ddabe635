"""FloatLayers: the linear layers that an int8 model keeps in fp32, because it would lose score without them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from hardware_profiles.unit import Kind

__all__ = ["FloatLayers", "LinearGroup", "Part", "carried", "share_of"]

Part = Literal["attention", "ffn_up", "ffn_down"]

_WORDS = {"attention": "attention", "ffn_up": "FFN up", "ffn_down": "FFN down"}


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LinearGroup(_Record):
    """Linear layers that are quantised or left together: attention's four projections, or one of the FFN's two."""

    layer: int
    part: Part

    def __str__(self) -> str:
        return f"layer {self.layer} {_WORDS[self.part]}"


class FloatLayers(_Record):
    """Which groups of a model stay in fp32, and its dev score without and with that."""

    groups: tuple[LinearGroup, ...]
    dev_without: float
    dev_with: float

    def __str__(self) -> str:
        """E.g. "in fp32 stays layer 2 FFN down: dev 0.8700 without, 0.9040 with"."""
        names = ", ".join(str(group) for group in self.groups)
        verb = "stays" if len(self.groups) == 1 else "stay"
        return f"in fp32 {verb} {names}: dev {self.dev_without:.4f} without, {self.dev_with:.4f} with"


def carried(groups: Collection[LinearGroup], survivors: Sequence[int]) -> tuple[LinearGroup, ...]:
    """The groups of a teacher as a student has them that keeps only the layers `survivors` of it, in this order."""
    places = {layer: place for place, layer in enumerate(survivors)}
    return tuple(LinearGroup(layer=places[g.layer], part=g.part) for g in groups if g.layer in places)


def share_of(groups: Collection[LinearGroup], depth: int) -> dict[Kind, float]:
    """The share of all attention and of all FFN weights that these groups of a model of `depth` layers hold."""
    attention = sum(group.part == "attention" for group in groups)
    return {"attention": attention / depth, "ffn": (len(groups) - attention) / (2 * depth)}
