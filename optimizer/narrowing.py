"""Narrowing: rows and columns that leave the parameters of one module, in place."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["keep_embedding", "keep_inputs", "keep_norm", "keep_outputs", "selected"]


def keep_outputs(linear: nn.Linear, rows: torch.Tensor) -> None:
    """Keep these outputs of a linear layer."""
    linear.weight = selected(linear.weight, 0, rows)
    linear.bias = selected(linear.bias, 0, rows)
    linear.out_features = len(rows)


def keep_inputs(linear: nn.Linear, columns: torch.Tensor) -> None:
    """Keep these inputs of a linear layer."""
    linear.weight = selected(linear.weight, 1, columns)
    linear.in_features = len(columns)


def keep_embedding(embedding: nn.Embedding, columns: torch.Tensor) -> None:
    """Keep these dimensions of every vector of a table."""
    embedding.weight = selected(embedding.weight, 1, columns)
    embedding.embedding_dim = len(columns)


def keep_norm(norm: nn.LayerNorm, index: torch.Tensor) -> None:
    """Normalise over these dimensions only."""
    norm.weight = selected(norm.weight, 0, index)
    norm.bias = selected(norm.bias, 0, index)
    norm.normalized_shape = (len(index),)


def selected(parameter: torch.Tensor, dimension: int, index: torch.Tensor) -> nn.Parameter:
    """The entries at these indices of one dimension, as a parameter of its own, frozen where it was."""
    values = parameter.detach().index_select(dimension, index)
    return nn.Parameter(values, requires_grad=parameter.requires_grad)
