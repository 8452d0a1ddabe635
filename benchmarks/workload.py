"""Workload: what is asked of a model."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from benchmarks.lengths import Lengths

__all__ = ["Workload"]


class Workload(BaseModel):
    """Batch size (rows), sequence length (tokens a row, padding included) and threads of one inference.

    With `lengths` it is a mix of calls of several lengths, and `seq_len` their mean in whole tokens.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch: int = Field(default=1, ge=1)
    seq_len: int = Field(default=128, ge=1)
    threads: int = Field(default=1, ge=1)
    lengths: Lengths | None = None

    @model_validator(mode="after")
    def _seq_len_is_the_mean(self) -> Workload:
        if self.lengths and self.seq_len != round(self.lengths.mean):
            raise ValueError(f"got seq_len {self.seq_len}, expected the mean of the lengths, {self.lengths.mean:.0f}")
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_not_there(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A workload of one length is written as it was before there were mixes: profiles and caches stay valid."""
        fields: dict[str, Any] = handler(self)
        return {name: value for name, value in fields.items() if value is not None}

    @classmethod
    def over(cls, lengths: Lengths, *, batch: int = 1, threads: int = 1) -> Workload:
        """Calls of these lengths; a plain workload where there is only one."""
        mix = lengths if len(lengths.points) > 1 else None
        return cls(batch=batch, seq_len=round(lengths.mean), threads=threads, lengths=mix)

    def points(self) -> tuple[tuple[Workload, float], ...]:
        """The plain workloads it is made of, by length, with their shares; a plain one is itself alone."""
        if self.lengths is None:
            return ((self, 1.0),)
        return tuple(
            (Workload(batch=self.batch, seq_len=point.seq_len, threads=self.threads), point.share)
            for point in self.lengths.points
        )

    def __str__(self) -> str:
        """E.g. "batch 1, 128 tokens, 1 thread"."""
        plural = "s" if self.threads > 1 else ""
        return f"batch {self.batch}, {self.lengths or f'{self.seq_len} tokens'}, {self.threads} thread{plural}"
