"""Sizes: the encoder that the study is about, and the batches it is asked for."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.suites.latency_prediction.group import Group
from benchmarks.workload import Workload
from hardware_profiles.graph import VOCABULARY
from hardware_profiles.profile_request import Effort
from hardware_profiles.shape import EncoderShape
from optimizer.architecture import Architecture, LayerShape
from optimizer.model_shape import ModelShape

__all__ = ["BERT_BASE", "TINY", "Sizes"]


@dataclass(frozen=True)
class Sizes:
    """An encoder's widths; `batches` for everything by batch, `profiled` for predictions, `advised` for advice.

    `models` held-out ones are drawn at each profiled batch; `seconds` are for timing each model.
    """

    hidden_size: int
    head_size: int
    heads: int
    ffn: int
    depth: int
    seq_len: int
    batches: tuple[int, ...]
    profiled: tuple[int, ...]
    advised: tuple[int, ...]
    models: int
    seconds: float
    budget: Effort

    def workload(self, batch: int) -> Workload:
        """What is asked of a model."""
        return Workload(batch=batch, seq_len=self.seq_len, threads=1)

    def group(self, batch: int) -> Group:
        """The held-out models of a batch."""
        sizes = self.hidden_size, self.head_size, self.heads, self.ffn, self.depth
        return Group(*sizes, self.workload(batch), models=self.models)

    @property
    def whole(self) -> EncoderShape:
        """The encoder that nothing is cut from."""
        return EncoderShape.uniform(self.hidden_size, self.head_size, self.depth, self.heads, self.ffn)

    @property
    def model(self) -> ModelShape:
        """The same as `advise` takes it."""
        layers = (LayerShape(heads=self.heads, ffn=self.ffn),) * self.depth
        sizes = {"hidden_size": self.hidden_size, "head_size": self.head_size, "vocab_size": VOCABULARY}
        return ModelShape(Architecture(**sizes, layers=layers), "gelu", max(512, self.seq_len))


BERT_BASE = Sizes(768, 64, 12, 3072, 12, 128, (1, 4, 16, 64, 128, 256), (1, 16, 128), (1, 128), 20, 2.0, "fast")
TINY = Sizes(32, 8, 4, 64, 2, 8, (1, 2), (1, 2), (1,), 4, 0.2, "fast")
