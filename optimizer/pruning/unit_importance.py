"""Importance of every head and neuron of a model, gathered from its weights or its gates' gradients. No formulas."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from transformers import PreTrainedModel

from optimizer.encoders import EncoderLayer, walk
from optimizer.encoding import Encoded
from optimizer.gates import gated
from optimizer.inference import autocast
from optimizer.pruning.importance import Importance, draw_labels, fisher, magnitude, taylor

__all__ = ["OF_GRADIENTS", "gradient_batches", "unit_importance"]

GRADIENT_BATCH = 32
OF_GRADIENTS = {"fisher": fisher, "taylor": taylor}  # by importance, as functions of gradients of single rows

Scores = tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]


def unit_importance(
    model: PreTrainedModel,
    calibration: Encoded,
    importance: Importance,
    advance: Callable[[float], None] = lambda share: None,
) -> Scores:
    """Importance (of heads, of neurons) in each layer by magnitude, first-order Taylor or Fisher; empty where removed.

    Args:
        calibration: training rows with the teacher's logits beside them.
        advance: told the share of the work done.
    """
    if importance == "magnitude":
        layers = walk(model).layers
        return tuple(map(_heads_magnitude, layers)), tuple(map(_ffn_magnitude, layers))
    score = OF_GRADIENTS[importance]
    totals: list[np.ndarray] = []
    for batch, share in gradient_batches(model, calibration):
        scores = [len(batch["labels"]) * score(gradient) for gradient in _gate_gradients(model, batch)]
        totals = [a + b for a, b in zip(totals, scores, strict=True)] if totals else scores
        advance(share)
    means = [total / len(calibration) for total in totals]
    depth = len(means) // 2
    return tuple(means[:depth]), tuple(means[depth:])


def gradient_batches(model: PreTrainedModel, calibration: Encoded) -> Iterator[tuple[dict[str, torch.Tensor], float]]:
    """Batches whose labels are drawn from the teacher's answers, and the share of the rows that each completes.

    With such labels squared gradients are the true Fisher, and none vanishes where the model is right. Meanwhile the
    model evaluates and its weights take no gradients: only the gates' are wanted.
    """
    assert calibration.teacher_logits is not None
    model.eval()
    rows = replace(calibration, labels=draw_labels(calibration.teacher_logits, seed=0))
    done = 0
    with _frozen(model):
        for index, batch in rows.buckets(GRADIENT_BATCH):
            done += len(index)
            device = next(model.parameters()).device
            yield {name: value.to(device) for name, value in batch.items()}, done / len(rows)


@contextmanager
def _frozen(model: PreTrainedModel) -> Iterator[None]:
    parameters = [p for p in model.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


def _gate_gradients(model: PreTrainedModel, batch: dict[str, torch.Tensor]) -> list[np.ndarray]:
    """dL/dm of each row [rows, units] for every block, L the row's cross-entropy; zeros for a removed block."""
    with gated(model, rows=len(batch["labels"])) as gates:
        with autocast():
            logits = model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        heads, ffn = gates.gradients(F.cross_entropy(logits.float(), batch["labels"], reduction="sum"))
    return [gradient.float().cpu().numpy() for gradient in (*heads, *ffn)]


def _heads_magnitude(layer: EncoderLayer) -> np.ndarray:
    if not layer.heads:
        return np.zeros(0)
    rows = [layer.query.weight, layer.key.weight, layer.value.weight, layer.attention_output.weight.T]
    return magnitude([weight.detach().cpu().numpy() for weight in rows], layer.head_size)


def _ffn_magnitude(layer: EncoderLayer) -> np.ndarray:
    if not layer.ffn:
        return np.zeros(0)
    return magnitude([weight.detach().cpu().numpy() for weight in (layer.up.weight, layer.down.weight.T)])
