"""Table: the rows of a model's token embedding."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from transformers import PreTrainedModel

from benchmarks.errors import TrimfitError
from optimizer.architecture import Architecture

__all__ = ["keep_tokens", "pinned_ids", "share_of_table"]

_NAMED = ("pad", "bos", "eos", "sep", "cls", "mask", "unk")
_COUNT_FROM_PADDING = ("roberta", "xlm-roberta")  # positions start behind the padding's id


def share_of_table(model: PreTrainedModel) -> float:
    """The token embedding's share of all parameters."""
    return _table(model).weight.numel() / sum(p.numel() for p in model.parameters())


def pinned_ids(model: PreTrainedModel, pad: int) -> set[int]:
    """Ids that stay whatever texts use: padding, and for RoBERTa all before it, lest its positions move."""
    known = {pad} if model.config.pad_token_id is None else {pad, model.config.pad_token_id}
    if model.config.model_type in _COUNT_FROM_PADDING:
        known |= set(range(max(known)))
    return known


def keep_tokens(model: PreTrainedModel, kept: Sequence[int]) -> PreTrainedModel:
    """Keep these rows of the token embedding, in this order, in place; the ids that the config names follow.

    Logits of rows written in the new ids are those of the old ids, bit for bit.

    Args:
        model: a supported encoder, with a head or bare.
        kept: old id of each new one.

    Raises TrimfitError when the table has no such row or is also an output layer.
    """
    table = _table(model)
    if model.get_output_embeddings() is not None:
        raise TrimfitError("the model's token embedding is also its output layer, expected a classifier's: keep it")
    if max(kept) >= table.num_embeddings:
        raise TrimfitError(
            f"the tokenizer has token {max(kept)}, the model's embedding {table.num_embeddings} rows: "
            "they do not belong together, copy both again"
        )
    new = {old: i for i, old in enumerate(kept)}
    padding = None if table.padding_idx is None else new.get(table.padding_idx)
    fewer = nn.Embedding(len(kept), table.embedding_dim, padding_idx=padding, device="meta")
    rows = table.weight.detach().index_select(0, torch.tensor(list(kept), device=table.weight.device))
    fewer.weight = nn.Parameter(rows, requires_grad=table.weight.requires_grad)
    model.set_input_embeddings(fewer.train(table.training))
    config = model.config
    config.vocab_size = len(kept)
    for name in (f"{each}_token_id" for each in _NAMED):
        if getattr(config, name, None) is not None:
            setattr(config, name, new.get(getattr(config, name)))
    if getattr(config, "trimfit", None) is not None:  # cut before: its shape is told there too
        config.trimfit = Architecture.of(model).as_config()
    return model


def _table(model: PreTrainedModel) -> nn.Embedding:
    return model.get_input_embeddings()
