"""Workload: what is asked of a model."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Workload"]


class Workload(BaseModel):
    """Batch size (rows), sequence length (tokens a row, padding included) and threads of one inference."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch: int = Field(default=1, ge=1)
    seq_len: int = Field(default=128, ge=1)
    threads: int = Field(default=1, ge=1)

    def __str__(self) -> str:
        """E.g. "batch 1, 128 tokens, 1 thread"."""
        plural = "s" if self.threads > 1 else ""
        return f"batch {self.batch}, {self.seq_len} tokens, {self.threads} thread{plural}"
