"""Zeros in the linear layers: set where they change least, and kept while training by a callback."""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedModel, TrainerCallback

from hardware_profiles.layer_zeros import LayerZeros
from hardware_profiles.runtimes.sparse.packing import BLOCK
from optimizer.architecture import Architecture
from optimizer.encoders import EncoderLayer, walk
from optimizer.encoding import Encoded
from optimizer.pruning.masks import global_shares, n_of_m_mask, top_mask
from optimizer.pruning.parts import Part, all_parts, by_layer, parts_of, share_of
from optimizer.pruning.patterns import NOfM, Zeros
from optimizer.pruning.second_order import damped, remove, remove_n_of_m
from optimizer.pruning.stream import Stream, enough_rows

__all__ = [
    "KeepZeros",
    "global_layers",
    "group_of",
    "hessians",
    "input_of",
    "kept_mask",
    "linear_weights",
    "set_zeros",
    "sparsity_of",
]

_SAME_INPUT = {"key": "query", "value": "query"}
_SECOND_ORDER = ("second-order", "second-order-even")


def input_of(name: str) -> str:
    """Under which linear's name `hessians` has what this one reads."""
    return _SAME_INPUT.get(name, name)


def linear_weights(model: PreTrainedModel) -> list[torch.Tensor]:
    """The weights [outputs, inputs] of every linear layer inside the encoder's layers."""
    return [linear.weight for layer in walk(model).layers for linear in layer.linears().values()]


def sparsity_of(model: PreTrainedModel) -> float:
    """Share of zeros among those weights."""
    weights = linear_weights(model)
    return sum(int((w == 0).sum()) for w in weights) / max(1, sum(w.numel() for w in weights))


def group_of(pattern: Zeros) -> int:
    """Neighbouring inputs that become zero together."""
    return BLOCK if pattern.word == "block" else 1


@torch.no_grad()
def set_zeros(model: PreTrainedModel, pattern: Zeros, calibration: Encoded | None = None) -> PreTrainedModel:
    """Zero the least important weights, or blocks or groups of weights, of every linear layer, in place.

    With `calibration` rows, where the pattern goes by second order: what is left of a layer makes up for what goes, and
    layers are cut first to last, each by what it then really reads. Else the smallest go; movement, which is known only
    once the model trains, is foretold by them.
    """
    if calibration is None or pattern.by not in _SECOND_ORDER:
        return _smallest_to_zero(model, pattern)
    stream = Stream(model, enough_rows(model, calibration))
    for index, layer in enumerate(walk(model).layers):
        read = {name: damped(h) for name, h in hessians(stream, layer).items()}
        for part in parts_of(layer, index):
            for name, linear in part.linears.items():
                linear.weight.copy_(_removed(linear.weight, read[input_of(name)], part, pattern))
        stream.advance(layer)
    return model


def kept_mask(scores: torch.Tensor, pattern: Zeros, sparsity: float) -> torch.Tensor:
    """True where a weight stays [outputs, inputs] by what each is worth, at this share of zeros."""
    if isinstance(pattern, NOfM):
        return n_of_m_mask(scores, pattern.n, pattern.m)
    return top_mask(scores, sparsity, group_of(pattern))


def global_layers(model: PreTrainedModel, sparsity: float, pattern: Zeros) -> tuple[LayerZeros, ...]:
    """The share of zeros of every layer when the smallest weights (or blocks) of all of them together go."""
    parts = all_parts(model)
    sizes = [[_sizes(linear.weight, pattern) for linear in part.linears.values()] for part in parts]
    shares = global_shares(sizes, sparsity, group_of(pattern))
    found = {part.key: min(share, _MOST) for part, share in zip(parts, shares, strict=True)}
    return by_layer(Architecture.of(model).depth, found)


_MOST = 0.995  # of a layer: without a weight it would answer nothing


def _smallest_to_zero(model: PreTrainedModel, pattern: Zeros) -> PreTrainedModel:
    together = pattern.by == "magnitude-global" and not isinstance(pattern, NOfM)
    shares = global_layers(model, pattern.sparsity, pattern) if together and not pattern.layers else pattern.shares
    for part in all_parts(model):
        weights = [linear.weight for linear in part.linears.values()]
        joint = [torch.cat(weights)] if together else weights  # one threshold for what one share is of
        masks = [kept_mask(_sizes(weight, pattern), pattern, share_of(part, shares)) for weight in joint]
        for weight, mask in zip(weights, torch.cat(masks).split([len(w) for w in weights]), strict=True):
            weight.masked_fill_(~mask, 0.0)
    return model


def _sizes(weight: torch.Tensor, pattern: Zeros) -> torch.Tensor:
    """Magnitudes; of blocks their energy counts."""
    return weight.detach().square() if pattern.word == "block" else weight.detach().abs()


def _removed(weight: torch.Tensor, hessian: torch.Tensor, part: Part, pattern: Zeros) -> torch.Tensor:
    if isinstance(pattern, NOfM):
        return remove_n_of_m(weight, hessian, pattern.n, pattern.m)
    share = share_of(part, pattern.shares)
    return remove(weight, hessian, share, group_of(pattern)) if share else weight


@torch.no_grad()
def hessians(stream: Stream, layer: EncoderLayer) -> dict[str, torch.Tensor]:
    """X^T X / tokens [inputs, inputs] of what each linear of a layer reads of the rows that have reached it.

    Query's is key's and value's.
    """
    names = [name for name in layer.linears() if name not in _SAME_INPUT]
    products: dict[str, torch.Tensor] = {}
    tokens = 0
    for reading in stream.readings(layer, names):
        tokens += len(reading.states)
        for name, x in reading.inputs.items():
            products.setdefault(name, x.new_zeros(x.shape[1], x.shape[1])).addmm_(x.T, x)
    return {name: product / max(tokens, 1) for name, product in products.items()}


class KeepZeros(TrainerCallback):
    """After every optimizer step, zero again what was zero when training began."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.zeros = [(weight, weight.detach() == 0) for weight in linear_weights(model)]

    @torch.no_grad()
    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Put the zeros back."""
        for weight, zero in self.zeros:
            weight.masked_fill_(zero, 0.0)
