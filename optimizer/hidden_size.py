"""Hidden size: the dimensions of the residual stream, which every part of a model shares, and how some leave it.

Dimensions are chosen, not mixed. SliceGPT (Ashkboos et al. 2024, section 3) first rotates the stream to its principal
components, which changes nothing where norms have no weights and all that connects blocks is linear. In the encoders
here LayerNorm comes after the residual addition: its gains are in the stream itself and cannot be moved into the layers
that follow, unless every residual connection becomes a matrix of hidden x hidden, two a layer, which costs a sixth of
the layer's weights again, and no config of transformers can say it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import nn
from transformers import PreTrainedModel

from benchmarks.errors import TrimfitError
from optimizer.encoders import Encoder, EncoderLayer, walk
from optimizer.narrowing import keep_embedding, keep_inputs, keep_norm, keep_outputs, selected
from optimizer.removed_blocks import BiasOnly

__all__ = ["READERS", "WRITERS", "entry_of", "head_reader", "narrow_hidden", "norms_of", "tables_of"]

READERS = ("query", "key", "value", "up")  # the linears of a layer that read the stream
WRITERS = ("attention_output", "down")  # and those that write to it


def narrow_hidden(model: PreTrainedModel, dimensions: Sequence[int]) -> None:
    """Remove all but these dimensions from everything that reads, writes or normalises the stream, in place."""
    encoder = walk(model)
    reader = head_reader(model)  # raises before anything is cut
    index = torch.tensor(list(dimensions), device=next(model.parameters()).device)
    entry = entry_of(encoder)
    if isinstance(entry, nn.Linear):
        keep_outputs(entry, index)
    for table in tables_of(encoder):
        keep_embedding(table, index)
    for layer in encoder.layers:
        _narrow_layer(layer, index)
    for norm in norms_of(encoder):
        keep_norm(norm, index)
    if reader is not None:
        keep_inputs(reader, index)


def entry_of(encoder: Encoder) -> nn.Module:
    """What gives the first hidden states: the embeddings, or the projection of narrower ones (ELECTRA)."""
    return getattr(encoder.module, "embeddings_project", encoder.embeddings)


def tables_of(encoder: Encoder) -> list[nn.Embedding]:
    """Embedding tables whose vectors are in the stream; none where a projection follows them."""
    if isinstance(entry_of(encoder), nn.Linear):
        return []
    return [module for module in encoder.embeddings.modules() if isinstance(module, nn.Embedding)]


def norms_of(encoder: Encoder) -> list[nn.LayerNorm]:
    """LayerNorms over the stream, in the order of the forward pass."""
    embeddings = [] if isinstance(entry_of(encoder), nn.Linear) else [encoder.embeddings]
    return [norm for module in (*embeddings, encoder.layer_list) for norm in _norms(module)]


def head_reader(model: PreTrainedModel) -> nn.Linear | None:
    """The linear layer behind the last hidden states; None in a bare encoder without a pooler.

    Raises TrimfitError for a model with another head than a sequence classifier's.
    """
    encoder = walk(model)
    pooler = getattr(encoder.module, "pooler", None)
    if pooler is not None:
        return pooler.dense
    if model is encoder.module:
        return None
    found = dict(model.named_modules()).get(encoder.family.reader)
    if not isinstance(found, nn.Linear):
        raise TrimfitError(
            f"got a {type(model).__name__}, expected a sequence classifier or a bare encoder: others' heads are unknown"
        )
    return found


def _narrow_layer(layer: EncoderLayer, index: torch.Tensor) -> None:
    linears = layer.linears()
    for name in READERS:
        if name in linears:
            keep_inputs(linears[name], index)
    for name in WRITERS:
        if name in linears:
            keep_outputs(linears[name], index)
        else:
            removed: BiasOnly = getattr(layer, name)
            removed.bias = selected(removed.bias, 0, index)


def _norms(module: nn.Module) -> Iterator[nn.LayerNorm]:
    return (part for part in module.modules() if isinstance(part, nn.LayerNorm))
