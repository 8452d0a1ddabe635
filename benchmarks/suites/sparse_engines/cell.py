"""Cell: one square of the study's grid, measured in one go and kept when it is finished."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from benchmarks.workload import Workload
from hardware_profiles.runtimes.sparse.dispatcher import LIMIT, operator_isas

__all__ = ["BEST_ISA", "Cell", "Kind", "Layout"]

Kind = Literal["model", "kernel", "break-even"]
Layout = Literal["tiles", "rows"]

BEST_ISA = "best"  # whatever the operators choose on this CPU


@dataclass(frozen=True)
class Cell:
    """What is measured: a model or a linear layer at so many tokens on so many threads.

    `subject` is a model's name or a layer's shape (out x in). `sparsity` is the share of zeros; None where the
    cell covers several. `isa` caps the instruction set of our operators. `layout` is that of a lone layer's
    activations: "tiles" as between sparse layers, "rows" as onnxruntime's own operators have them.
    """

    kind: Kind
    subject: str
    tokens: int = 128
    threads: int = 1
    sparsity: float | None = None
    isa: str = BEST_ISA
    layout: Layout = "tiles"

    @property
    def label(self) -> str:
        """E.g. "model/bert-4/tokens=128/threads=1/sparsity=90/isa=best"."""
        what = f"sparsity={self.sparsity * 100:g}" if self.sparsity is not None else f"layout={self.layout}"
        return f"{self.kind}/{self.subject}/tokens={self.tokens}/threads={self.threads}/{what}/isa={self.isa}"

    @property
    def workload(self) -> Workload:
        """One row of the cell's tokens."""
        return Workload(batch=1, seq_len=self.tokens, threads=self.threads)

    @property
    def env(self) -> dict[str, str]:
        """Environment variables for our operators."""
        return {} if self.isa == BEST_ISA else {LIMIT: self.isa}

    @property
    def isa_name(self) -> str:
        """The instruction set our operators use in this cell."""
        if self.isa != BEST_ISA:
            return self.isa
        return next(iter(operator_isas()), "unknown")
