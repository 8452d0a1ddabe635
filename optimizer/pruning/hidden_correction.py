"""Correction after hidden dimensions have gone: what is left of the stream is brought back to what it was. Frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel

from optimizer.encoders import EncoderLayer, walk
from optimizer.encoding import Encoded
from optimizer.hidden_size import READERS, WRITERS, head_reader, norms_of
from optimizer.pruning.correction import behind, fit
from optimizer.pruning.removal import regress
from optimizer.pruning.stream import Stream, enough_rows

__all__ = ["correct_hidden"]


@torch.no_grad()
def correct_hidden(
    model: PreTrainedModel, whole: PreTrainedModel, dimensions: Sequence[int], calibration: Encoded
) -> PreTrainedModel:
    """Fit a model, narrowed by `surgery.keep_hidden`, to the one it was, in place, first layer to last.

    Linears that read the stream are fitted to give what they gave when they read all of it, those that write to it and
    the LayerNorms, which now normalise over less, to bring each dimension that is left back to what it was.

    Args:
        model: narrowed, nothing else changed.
        whole: the model before; unchanged.
        dimensions: of the whole stream that are left.
        calibration: rows; their labels do not matter.
    """
    kept, rows = torch.tensor(list(dimensions)), enough_rows(whole, calibration)
    encoder = walk(model)
    embeddings = [norm for norm in norms_of(encoder) if norm in set(encoder.embeddings.modules())]
    if embeddings:
        _fit_norm(embeddings[-1], Stream(model, rows).states(), Stream(whole, rows).states()[:, kept])
    now, before = Stream(model, rows), Stream(whole, rows)
    for layer, was in zip(encoder.layers, walk(whole).layers, strict=True):
        _fit_layer(layer, was, now, before, kept)
    reader, read = head_reader(model), head_reader(whole)
    if reader is not None and read is not None:
        pairs = [(now.first_states(), read(before.first_states()))]
        fit(reader, pairs, torch.arange(reader.in_features))
    return model


def _fit_layer(layer: EncoderLayer, was: EncoderLayer, now: Stream, before: Stream, kept: torch.Tensor) -> None:
    """Fit a layer's parts in the order in which they run, and go through it."""
    linears = layer.linears()
    after_attention, after_ffn = (m for m in layer.module.modules() if isinstance(m, nn.LayerNorm))
    for name in ("query", "key", "value", "attention_output", "up", "down"):
        if name == "up" and name in linears:
            _fit_norm(after_attention, _read(now, layer, name), _read(before, was, name)[:, kept])
        if name in linears:
            linear = linears[name]
            pairs = (
                behind(name, layer, was, now, before, kept)
                if name in WRITERS
                else _reading(name, layer, was, now, before)
            )
            fit(linear, pairs, torch.arange(linear.in_features))
    before.advance(was)
    _fit_norm(after_ffn, now.peek(layer), before.states()[:, kept])
    now.advance(layer)


def _reading(
    name: str, layer: EncoderLayer, was: EncoderLayer, now: Stream, before: Stream
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """What a linear reads now and what it gave before, of each batch."""
    assert name in READERS
    linear: nn.Linear = getattr(was, name)
    for reading, old in zip(now.readings(layer, (name,)), before.readings(was, (name,)), strict=True):
        yield reading.inputs[name], F.linear(old.inputs[name], linear.weight, linear.bias)


def _read(stream: Stream, layer: EncoderLayer, name: str) -> torch.Tensor:
    return torch.cat([reading.inputs[name] for reading in stream.readings(layer, (name,))])


def _fit_norm(norm: nn.LayerNorm, given: torch.Tensor, wanted: torch.Tensor) -> None:
    slope, intercept = regress(given, wanted)
    norm.bias.copy_(slope * norm.bias + intercept)
    norm.weight.copy_(slope * norm.weight)
