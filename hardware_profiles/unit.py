"""Unit: a piece of a transformer that has a latency of its own."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["OF", "Kind", "Pattern", "Unit", "block_weights", "packed_share", "weight_bytes", "zeros_in_words"]

Kind = Literal["glue", "attention", "ffn"]
Pattern = Literal["dense", "unstructured", "block", "n:m"]
"""Which weights may be zero: none, any, 4 consecutive inputs of one output together, all but n of m such inputs."""
OF = 4
"""Consecutive inputs of one output, of which n are left: the m of n:m that GPUs have kernels for."""
_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "int8": 1, "int8-static": 1}


def block_weights(kind: Kind, width: int, hidden_size: int, head_size: int) -> int:
    """Number of weights in a block's linear layers: four projections of attention, two of the FFN."""
    if kind == "glue":
        return 0
    return 4 * hidden_size * width * head_size if kind == "attention" else 2 * hidden_size * width


def weight_bytes(weights: float, precision: str) -> float:
    """Bytes of so many weights at a precision; an unknown one counts as fp32."""
    return weights * _BYTES.get(precision, 4)


def packed_share(sparsity: float) -> float:
    """Bytes of packed weights over those of the dense ones.

    With each float, or each block of four int8, goes a 16-bit column: 6 bytes for every 4 that are not zero.
    """
    return min(1.0, 1.5 * (1 - sparsity))


def zeros_in_words(pattern: Pattern, sparsity: float) -> str:
    """E.g. "90% zeros", "80% zero blocks", "2:4 zeros"."""
    if pattern == "n:m":
        return f"{round(OF * (1 - sparsity))}:{OF} zeros"
    return f"{sparsity:.0%} {'zero blocks' if pattern == 'block' else 'zeros'}"


class Unit(BaseModel):
    """Attention with `width` heads, a feed-forward block of `width` neurons, or the glue of a whole model.

    Each block comes with its residual and its LayerNormalization; width 0 is a removed block, of which only
    these and a bias are left. The glue is everything that every model has once: embeddings, attention mask,
    pooler, classifier and the cost of a call. `sparsity` is the share of zeros in the linear layers' weights.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    hidden_size: int = Field(gt=0)
    head_size: int = Field(gt=0)
    width: int = Field(default=0, ge=0)
    activation: str = "gelu"
    pattern: Pattern = "dense"
    sparsity: float = Field(default=0.0, ge=0, lt=1)

    @property
    def weights(self) -> int:
        """Number of weights in the linear layers of one copy; the glue's are not counted."""
        return block_weights(self.kind, self.width, self.hidden_size, self.head_size)

    def __str__(self) -> str:
        """E.g. "attention of 12 heads, 90% zeros"."""
        size = {
            "glue": "glue",
            "attention": f"attention of {self.width} heads",
            "ffn": f"FFN of {self.width}",
        }
        return size[self.kind] + (f", {zeros_in_words(self.pattern, self.sparsity)}" if self.sparsity else "")
