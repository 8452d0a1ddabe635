"""What stands in the place of a removed block: only the bias of its output projection is left of it.

LayerNorm(x + W·0 + b) needs b, so it stays; everything that had heads or neurons as a dimension is gone. In
evaluation the bias is handed on as it is and broadcast by the residual addition, so that an exported graph
holds one addition.
"""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["BiasOnly", "NoNeurons", "RemovedAttention"]


class BiasOnly(nn.Module):
    """A linear layer without inputs: [..., 0] -> [..., hidden], every row the bias."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.bias = linear.bias

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Give the bias; one copy per row in training, where dropout must differ between rows."""
        return self.bias.expand(*rows.shape[:-1], -1) if self.training else self.bias


class NoNeurons(nn.Module):
    """A linear layer without outputs: [..., hidden] -> [..., 0]."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Give rows of width 0."""
        return rows[..., :0]


class RemovedAttention(nn.Module):
    """Self-attention without heads, callable as each family calls its own.

    `output` is the name of the output projection where the family keeps it inside the attention module
    (DistilBERT); None where it follows the module (BERT and its kin).
    """

    def __init__(self, output: str | None) -> None:
        super().__init__()
        self.output_name = output

    def forward(
        self,
        hidden_states: torch.Tensor | None = None,
        *_: object,
        query: torch.Tensor | None = None,
        **__: object,
    ) -> tuple[torch.Tensor, None]:
        """Give (context of width 0 or its projection, no attention weights)."""
        rows = hidden_states if query is None else query
        assert rows is not None
        context = rows[..., :0]
        return (context if self.output_name is None else getattr(self, self.output_name)(context)), None
