"""Signals: what a model says of a batch beside its logits, read through the walker, so that every family works."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import nn
from transformers import PreTrainedModel

from optimizer.distillation.layer_pairs import Places
from optimizer.encoders import walk

__all__ = ["Need", "Signals", "collect"]

Need = Literal["embedding", "hidden", "queries", "keys", "values"]
"""What an objective may need beside the logits; attention scores and probabilities follow from queries and keys."""

_PROJECTIONS: dict[Need, str] = {"queries": "query", "keys": "key", "values": "value"}


@dataclass(frozen=True)
class Signals:
    """One batch as a model sees it: n rows of t tokens, all in fp32.

    `logits` [n, c], `mask` [n, t] with 1 for real tokens, `embedding` [n, t, d]: what the first layer reads. One entry
    for each layer that was asked for: `hidden` [n, t, d]: what the layer hands on; `queries`, `keys`, `values`
    [n, heads, t, head size].
    """

    logits: torch.Tensor
    mask: torch.Tensor
    embedding: torch.Tensor | None = None
    hidden: tuple[torch.Tensor, ...] = ()
    queries: tuple[torch.Tensor, ...] = ()
    keys: tuple[torch.Tensor, ...] = ()
    values: tuple[torch.Tensor, ...] = ()


def collect(
    model: PreTrainedModel,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    needs: Collection[Need],
    places: Places,
) -> Signals:
    """Run a classifier and bring back the logits and exactly what `needs` names, from the layers in `places`.

    Queries, keys and values are hooked where they are made, so that any attention implementation may follow;
    `places.attention` names only layers that have heads.
    """
    encoder = walk(model)
    layers = encoder.layers
    made: dict[tuple[Need, int], torch.Tensor] = {}
    states = "hidden" in needs or "embedding" in needs
    with ExitStack() as hooks:
        for need in _PROJECTIONS.keys() & set(needs):
            for index, _ in places.attention:
                projection = getattr(layers[index], _PROJECTIONS[need])
                handle = projection.register_forward_hook(partial(_keep, made, (need, index)))
                hooks.callback(handle.remove)
        output = model(input_ids, attention_mask=attention_mask, output_hidden_states=states)

    def found(need: Need) -> tuple[torch.Tensor, ...]:
        where = places.attention if need in needs else ()
        return tuple(_by_head(made[need, index], encoder.head_size, heads) for index, heads in where)

    return Signals(
        logits=output.logits.float(),
        mask=attention_mask,
        embedding=output.hidden_states[0].float() if "embedding" in needs else None,
        hidden=tuple(output.hidden_states[1 + i].float() for i in places.hidden) if "hidden" in needs else (),
        queries=found("queries"),
        keys=found("keys"),
        values=found("values"),
    )


def _keep(
    made: dict[tuple[Need, int], torch.Tensor],
    place: tuple[Need, int],
    module: nn.Module,
    inputs: tuple[torch.Tensor, ...],
    output: torch.Tensor,
) -> None:
    made[place] = output


def _by_head(rows: torch.Tensor, head_size: int, heads: tuple[int, ...] | None) -> torch.Tensor:
    """[n, t, heads * head size] -> [n, heads, t, head size], of these heads only."""
    split = rows.float().unflatten(-1, (-1, head_size)).transpose(1, 2)
    return split if heads is None else split[:, list(heads)]
