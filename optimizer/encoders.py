"""One walker over Hugging Face encoders: where the heads, neurons and layers live in each family."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from benchmarks.errors import TrimfitError
from optimizer.removed_blocks import BiasOnly

__all__ = ["FAMILIES", "SUPPORTED", "Encoder", "EncoderLayer", "Family", "family_of", "walk"]


@dataclass(frozen=True)
class Family:
    """Attribute paths of one family: `layers` from the encoder, the others from a layer or as said."""

    layers: str
    attention: str  # the module that computes the heads' context
    query: str
    key: str
    value: str
    attention_output: str
    up: str
    down: str
    heads_attribute: str  # of `attention`: number of heads
    width_attribute: str  # of `attention`: heads times head size
    ffn_field: str  # of the config: FFN width
    class_layer: str  # of a sequence classifier: the linear layer that gives the logits
    reader: str  # of a sequence classifier: the linear layer that reads the last hidden states, if it is not the pooler


_BERT = Family(
    layers="encoder.layer",
    attention="attention.self",
    query="attention.self.query",
    key="attention.self.key",
    value="attention.self.value",
    attention_output="attention.output.dense",
    up="intermediate.dense",
    down="output.dense",
    heads_attribute="num_attention_heads",
    width_attribute="all_head_size",
    ffn_field="intermediate_size",
    class_layer="classifier",
    reader="",
)
_ROBERTA = Family(**{**vars(_BERT), "class_layer": "classifier.out_proj", "reader": "classifier.dense"})
_DISTILBERT = Family(
    layers="transformer.layer",
    attention="attention",
    query="attention.q_lin",
    key="attention.k_lin",
    value="attention.v_lin",
    attention_output="attention.out_lin",
    up="ffn.lin1",
    down="ffn.lin2",
    heads_attribute="n_heads",
    width_attribute="dim",
    ffn_field="hidden_dim",
    class_layer="classifier",
    reader="pre_classifier",
)

FAMILIES = {
    "bert": _BERT,
    "distilbert": _DISTILBERT,
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "electra": _ROBERTA,
}
SUPPORTED: tuple[str, ...] = tuple(FAMILIES)


class _Part:
    """A module of a layer, found through the path of that name in the family's table."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, layer: EncoderLayer, owner: type) -> Any:
        return layer.module.get_submodule(getattr(layer.family, self.name))

    def __set__(self, layer: EncoderLayer, module: nn.Module) -> None:
        parent, _, name = getattr(layer.family, self.name).rpartition(".")
        setattr(layer.module.get_submodule(parent), name, module)


@dataclass
class EncoderLayer:
    """One layer. Its parts are read and replaced under the same names in every family.

    The six projections are `nn.Linear`; those of a removed block are stand-ins from `removed_blocks`.
    Weights are [outputs, inputs]: a head is `head_size` neighbouring rows of query, key and value and as many
    columns of `attention_output`; an FFN neuron is a row of `up` and a column of `down`.
    """

    module: nn.Module
    family: Family
    head_size: int

    attention = _Part()
    query = _Part()
    key = _Part()
    value = _Part()
    attention_output = _Part()
    up = _Part()
    down = _Part()

    @property
    def heads(self) -> int:
        """Number of heads, read from the weights; 0 when attention is removed."""
        return 0 if isinstance(self.attention_output, BiasOnly) else self.query.weight.shape[0] // self.head_size

    @property
    def ffn(self) -> int:
        """Number of FFN neurons, read from the weights; 0 when the FFN is removed."""
        return 0 if isinstance(self.down, BiasOnly) else self.up.weight.shape[0]

    def linears(self) -> dict[str, nn.Linear]:
        """Return the projections that are left, by name."""
        names = ["query", "key", "value", "attention_output"] if self.heads else []
        names += ["up", "down"] if self.ffn else []
        return {name: getattr(self, name) for name in names}


@dataclass
class Encoder:
    """The encoder inside a model: embeddings, then `layer_list`, whose members `layers` describes."""

    module: nn.Module
    family: Family
    head_size: int

    @property
    def hidden_size(self) -> int:
        """Dimensions of the hidden states, read from the weights: the config tells that before any were removed."""
        return self.layers[0].down.bias.shape[0]

    @property
    def embeddings(self) -> nn.Module:
        """The embeddings' module."""
        return self.module.get_submodule("embeddings")

    @property
    def vocab_size(self) -> int:
        """Rows of the word embedding."""
        return self.module.get_input_embeddings().weight.shape[0]  # type: ignore[operator]

    @property
    def layer_list(self) -> nn.ModuleList:
        """The list that the model runs through; replace it to add, drop or reorder layers."""
        return self.module.get_submodule(self.family.layers)  # type: ignore[return-value]

    @layer_list.setter
    def layer_list(self, layers: nn.ModuleList) -> None:
        parent, _, name = self.family.layers.rpartition(".")
        setattr(self.module.get_submodule(parent), name, layers)

    @property
    def layers(self) -> list[EncoderLayer]:
        """Return the layers, first to last."""
        return [EncoderLayer(module, self.family, self.head_size) for module in self.layer_list]


def family_of(config: Any) -> Family:
    """Look up the family of a Hugging Face config. Raises TrimfitError listing what is supported."""
    model_type = getattr(config, "model_type", None)
    if model_type not in FAMILIES:
        raise TrimfitError(f"models of type {model_type!r} are not supported: use one of {', '.join(SUPPORTED)}")
    if getattr(config, "is_decoder", False) or getattr(config, "add_cross_attention", False):
        raise TrimfitError(f"got a {model_type} decoder, expected an encoder: set is_decoder to false in config.json")
    return FAMILIES[model_type]


def walk(model: PreTrainedModel) -> Encoder:
    """Find the encoder in a bare encoder or in a model with a head.

    Raises TrimfitError for an unsupported family.
    """
    config = model.config
    head_size = config.hidden_size // config.num_attention_heads
    return Encoder(model.base_model, family_of(config), head_size)
