"""Importance of the hidden states' dimensions, over the whole model: they leave every layer together. No formulas."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from transformers import PreTrainedModel

from optimizer.encoders import walk
from optimizer.encoding import Encoded
from optimizer.gates import gated_hidden
from optimizer.hidden_size import READERS, WRITERS, entry_of, head_reader, tables_of
from optimizer.inference import autocast
from optimizer.pruning.importance import Importance, magnitude
from optimizer.pruning.unit_importance import OF_GRADIENTS, gradient_batches

__all__ = ["hidden_importance"]


def hidden_importance(
    model: PreTrainedModel,
    calibration: Encoded,
    importance: Importance = "fisher",
    advance: Callable[[float], None] = lambda share: None,
) -> np.ndarray:
    """Importance [hidden] by magnitude, first-order Taylor or Fisher.

    The gradients are those of one gate a dimension, wherever the hidden states are read (`gates.gated_hidden`);
    magnitude counts all weights that read or write the dimension.

    Args:
        calibration: training rows with the teacher's logits beside them.
        advance: told the share of the work done.

    Raises KeyError for "second-order": there is no such thing over many layers.
    """
    if importance == "magnitude":
        return magnitude(list(_matrices(model)))
    score, total = OF_GRADIENTS[importance], np.zeros(walk(model).hidden_size)
    for batch, share in gradient_batches(model, calibration):
        total += len(batch["labels"]) * score(_gate_gradients(model, batch))
        advance(share)
    return total / len(calibration)


def _matrices(model: PreTrainedModel) -> Iterator[np.ndarray]:
    """Every weight that has the stream as a dimension, [hidden, others]."""
    encoder = walk(model)
    entry, reader = entry_of(encoder), head_reader(model)
    found = [table.weight.T for table in tables_of(encoder)]
    if isinstance(entry, torch.nn.Linear):
        found.append(entry.weight)
    for layer in encoder.layers:
        linears = layer.linears()
        found += [linears[name].weight.T for name in READERS if name in linears]
        found += [linears[name].weight for name in WRITERS if name in linears]
    if reader is not None:
        found.append(reader.weight.T)
    return (weight.detach().cpu().numpy() for weight in found)


def _gate_gradients(model: PreTrainedModel, batch: dict[str, torch.Tensor]) -> np.ndarray:
    """dL/dm of each row [rows, hidden], L the row's cross-entropy."""
    with gated_hidden(model, rows=len(batch["labels"])) as gate:
        with autocast():
            logits = model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        loss = F.cross_entropy(logits.float(), batch["labels"], reduction="sum")
        return torch.autograd.grad(loss, gate)[0].float().cpu().numpy()
