"""Stream: calibration rows on their way through a model's layers, so that each layer can be looked at as it is reached.

A layer is run for itself, on the hidden states that the layers before it gave: after a layer was changed, those behind
it read what the changed model gives them, and no layer is run more often than it is looked at.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from optimizer.encoders import EncoderLayer, walk
from optimizer.encoding import Encoded
from optimizer.gates import skipping
from optimizer.inference import BATCH_SIZE, autocast, evaluating

__all__ = ["Reading", "Stream", "enough_rows"]

TOKENS_AN_INPUT = 8  # calibration tokens for each input of the widest layer: more change little

Linears = dict[str, nn.Linear]


@dataclass(frozen=True)
class Reading:
    """What one batch brings to a layer: the real tokens of its hidden states and of what its linears read, fp32."""

    states: torch.Tensor  # [tokens, hidden]
    inputs: dict[str, torch.Tensor]  # [tokens, inputs] by the linear's name


@dataclass
class _Batch:
    rows: np.ndarray  # indices of the rows
    tokens: torch.Tensor  # [rows, tokens]
    states: torch.Tensor  # [rows, tokens, hidden]
    real: torch.Tensor  # [rows, tokens], False where padded
    others: tuple[Any, ...]  # what else a layer is called with
    named: dict[str, Any]


class Stream:
    """The rows' hidden states [rows, tokens, hidden], batch by batch, at first what the embeddings give."""

    def __init__(self, model: PreTrainedModel, rows: Encoded) -> None:
        with torch.no_grad(), evaluating(model), autocast():
            self._batches = list(_entering(model, rows))

    @torch.no_grad()
    def readings(self, layer: EncoderLayer, names: Collection[str]) -> Iterator[Reading]:
        """What a layer and those of its linears that are named read of each batch; the states stay where they are."""
        linears = {name: linear for name, linear in layer.linears().items() if name in names}
        for batch in self._batches:
            with _inputs_of(linears) as read, evaluating(layer.module), autocast():
                _through(layer, batch)
            inputs = {name: x[batch.real] for name, x in read.items()}
            yield Reading(batch.states[batch.real].float(), inputs)

    def states(self) -> torch.Tensor:
        """The hidden states of all real tokens [tokens, hidden], fp32."""
        return torch.cat([batch.states[batch.real] for batch in self._batches]).float()

    def first_states(self) -> torch.Tensor:
        """Those of every row's first token [rows, hidden], which a classifier reads."""
        return torch.cat([batch.states[:, 0] for batch in self._batches]).float()

    @torch.no_grad()
    def peek(self, layer: EncoderLayer) -> torch.Tensor:
        """What a layer gives of all real tokens [tokens, hidden]; the states stay where they are."""
        with evaluating(layer.module), autocast():
            return torch.cat([_through(layer, batch)[batch.real] for batch in self._batches]).float()

    @torch.no_grad()
    def logits(self, model: PreTrainedModel, reached: int) -> torch.Tensor:
        """What the model answers [rows, classes], fp32, in the order of the rows: only layers from `reached` on run."""
        found: list[torch.Tensor] = []
        entered = walk(model).layers[reached].module
        with skipping(model, range(reached)), evaluating(model), autocast():
            for batch in self._batches:
                with _given(entered, batch.states):
                    found.append(model(batch.tokens, attention_mask=batch.real.long()).logits.float())
        order = np.argsort(np.concatenate([batch.rows for batch in self._batches]))
        return torch.cat(found)[torch.from_numpy(order)]

    @torch.no_grad()
    def advance(self, layer: EncoderLayer) -> None:
        """Go through a layer: the states become what it gives."""
        with evaluating(layer.module), autocast():
            for batch in self._batches:
                batch.states = _through(layer, batch)


def enough_rows(model: PreTrainedModel, calibration: Encoded) -> Encoded:
    """As many rows as the Hessian of the widest layer needs, drawn: files are often sorted by label or language."""
    linears = [linear for layer in walk(model).layers for linear in layer.linears().values()]
    widest = max((linear.in_features for linear in linears), default=0)
    order = np.random.default_rng(0).permutation(len(calibration))
    count = int(np.searchsorted(np.cumsum(calibration.lengths[order]), TOKENS_AN_INPUT * widest)) + 1
    return calibration.take(np.sort(order[:count]))


def _entering(model: PreTrainedModel, rows: Encoded) -> Iterator[_Batch]:
    """The batches as they are handed to the first layer."""
    layers, device = walk(model).layers, next(model.parameters()).device
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    hook = layers[0].module.register_forward_pre_hook(
        lambda _, args, kwargs: calls.append((args, kwargs)), with_kwargs=True
    )
    try:
        with skipping(model, range(1, len(layers))):
            for indices, batch in rows.buckets(BATCH_SIZE):
                mask = batch["attention_mask"].to(device)
                tokens = batch["input_ids"].to(device)
                model.base_model(tokens, attention_mask=mask)
                (states, *others), named = calls.pop()
                yield _Batch(indices, tokens, states, mask.bool(), tuple(others), named)
    finally:
        hook.remove()


@contextmanager
def _given(module: nn.Module, states: torch.Tensor) -> Iterator[None]:
    """A layer that is handed these hidden states, whatever comes before it."""
    hook = module.register_forward_pre_hook(lambda _, args, kwargs: ((states, *args[1:]), kwargs), with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()


def _through(layer: EncoderLayer, batch: _Batch) -> torch.Tensor:
    given = layer.module(batch.states, *batch.others, **batch.named)
    return given[0] if isinstance(given, tuple) else given  # no attention weights are asked for


@contextmanager
def _inputs_of(linears: Linears) -> Iterator[dict[str, torch.Tensor]]:
    """What each linear read last [rows, tokens, inputs], fp32."""
    read: dict[str, torch.Tensor] = {}

    def keep(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            read[name] = inputs[0].float()

        return hook

    hooks = [linear.register_forward_pre_hook(keep(name)) for name, linear in linears.items()]
    try:
        yield read
    finally:
        for handle in hooks:
            handle.remove()
