"""Group: models of one hidden size at one workload, which one profile predicts."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.workload import Workload
from hardware_profiles.shape import EncoderShape

__all__ = ["GROUPS", "QUICK_GROUPS", "Group"]


@dataclass(frozen=True)
class Group:
    """Sizes of the full model, whose parts are profiled, and how many held-out models are drawn below it.

    `first_kind` is the kind of the first of `models`; the next ones follow in turn. `candidates` near one target are
    ranked; 0 for none.
    """

    hidden_size: int
    head_size: int
    max_heads: int
    max_ffn: int
    depth: int
    workload: Workload
    models: int = 10
    first_kind: int = 0
    candidates: int = 0

    @property
    def label(self) -> str:
        """E.g. "384 wide, 64 tokens, 1 thread", "768 wide, batch 16, 128 tokens, 1 thread"."""
        threads = self.workload.threads
        plural = "s" if threads > 1 else ""
        batch = f"batch {self.workload.batch}, " if self.workload.batch > 1 else ""
        return f"{self.hidden_size} wide, {batch}{self.workload.seq_len} tokens, {threads} thread{plural}"

    @property
    def full(self) -> EncoderShape:
        """The model that nothing was cut from: it is timed beside the others, as the teacher is in a job."""
        return self.shape(self.depth, self.max_heads, self.max_ffn)

    def shape(self, depth: int, heads: int, ffn: int) -> EncoderShape:
        """`depth` layers that are all alike."""
        return EncoderShape.uniform(self.hidden_size, self.head_size, depth, heads, ffn)


def _at(seq_len: int, threads: int) -> Workload:
    return Workload(batch=1, seq_len=seq_len, threads=threads)


# hidden sizes people deploy; lengths from a short text to a long one, some that no tile or vector divides
GROUPS = (
    Group(384, 32, 12, 1536, 12, _at(64, 1), candidates=20),
    Group(256, 32, 8, 1024, 12, _at(384, 1), first_kind=2),
    Group(768, 64, 12, 3072, 12, _at(128, 1)),
    Group(384, 32, 12, 1536, 12, _at(25, 2), first_kind=2, candidates=20),
    Group(512, 64, 8, 2048, 12, _at(200, 2)),
    Group(768, 64, 12, 3072, 12, _at(16, 2), first_kind=2),
)

QUICK_GROUPS = (Group(256, 32, 8, 1024, 4, _at(32, 1), models=4, candidates=8),)
