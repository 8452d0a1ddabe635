"""Architecture: the shape of an encoder, layer by layer, as it is decided, saved and predicted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from benchmarks.errors import TrimfitError

if TYPE_CHECKING:  # a shape is read by the report and the manifest, which need no torch
    from transformers import PretrainedConfig, PreTrainedModel

__all__ = ["Architecture", "LayerShape"]


class LayerShape(BaseModel):
    """Heads and FFN neurons of one layer; 0 means that the block is removed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    heads: int = Field(ge=0)
    ffn: int = Field(ge=0)


class Architecture(BaseModel):
    """Width of every layer. `head_size` is that of one head; a removed layer has no entry in `layers`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hidden_size: int = Field(gt=0)
    head_size: int = Field(gt=0)
    vocab_size: int = Field(gt=0)
    layers: tuple[LayerShape, ...]

    @classmethod
    def of(cls, model: PreTrainedModel) -> Architecture:
        """Read the shape of a live model from its weights. Raises TrimfitError for an unsupported family."""
        from optimizer.encoders import walk

        encoder = walk(model)
        layers = tuple(LayerShape(heads=layer.heads, ffn=layer.ffn) for layer in encoder.layers)
        return cls(
            hidden_size=encoder.hidden_size,
            head_size=encoder.head_size,
            vocab_size=encoder.vocab_size,
            layers=layers,
        )

    @classmethod
    def from_config(cls, config: PretrainedConfig) -> Architecture | None:
        """Read the shape that a config tells; None if it was never cut. Raises TrimfitError if it is
        broken."""
        stored = getattr(config, "trimfit", None)
        if stored is None:
            return None
        try:
            return cls.model_validate({key: value for key, value in stored.items() if key != "format"})
        except (ValidationError, AttributeError) as error:
            raise TrimfitError(
                f"config.json tells a shape that this version does not read ({_first_line(error)}): "
                "copy the deployment again"
            ) from error

    @property
    def depth(self) -> int:
        """Number of layers that are left."""
        return len(self.layers)

    def encoder_parameters(self) -> int:
        """Number of weights and biases in the layers (embeddings, pooler and classifier not counted)."""
        return sum(self._layer_parameters(layer) for layer in self.layers)

    def _layer_parameters(self, layer: LayerShape) -> int:
        hidden, width = self.hidden_size, layer.heads * self.head_size
        attention = 3 * width * (hidden + 1) + hidden * (width + 1)
        ffn = layer.ffn * (hidden + 1) + hidden * (layer.ffn + 1)
        layer_norms = 2 * 2 * hidden
        return attention + ffn + layer_norms

    def as_config(self) -> dict[str, Any]:
        """What `config.json` holds under the key `trimfit`."""
        return {"format": 1, **self.model_dump(mode="json")}


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        problem = error.errors()[0]
        return f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
    return str(error)
