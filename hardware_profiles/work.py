"""Work: the arithmetic of an encoder by what does it, for models of devices that nobody measured unit by unit."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.workload import Workload
from hardware_profiles.shape import HasShape

__all__ = ["Work"]

_GIGA = 1e9


@dataclass(frozen=True)
class Work:
    """Of one inference; a multiplication and an addition are two operations.

    `ffn_gflop`, `projection_gflop`: linear layers; `core_gflop`: the products of queries with keys and of weights with
    values; `heads`: summed over layers; `layers`: attention and FFN count half a layer each; `rows`: tokens in all.
    """

    ffn_gflop: float
    projection_gflop: float
    core_gflop: float
    heads: int
    layers: float
    rows: int
    hidden_size: int

    @classmethod
    def of(cls, shape: HasShape, workload: Workload) -> Work:
        """The work of an encoder at a workload of one length: no embeddings, no classifier."""
        rows, hidden = workload.batch * workload.seq_len, shape.hidden_size
        heads = sum(layer.heads for layer in shape.layers)
        width = heads * shape.head_size
        return cls(
            ffn_gflop=2 * 2 * rows * hidden * sum(layer.ffn for layer in shape.layers) / _GIGA,
            projection_gflop=2 * 4 * rows * hidden * width / _GIGA,
            core_gflop=2 * 2 * rows * workload.seq_len * width / _GIGA,
            heads=heads,
            layers=sum((layer.heads > 0) + (layer.ffn > 0) for layer in shape.layers) / 2,
            rows=rows,
            hidden_size=hidden,
        )

    @property
    def gflop(self) -> float:
        """All of it."""
        return self.ffn_gflop + self.projection_gflop + self.core_gflop
