"""`decision.json`: every candidate with its prediction, every refusal with its reason, and what was tried."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from benchmarks.workload import Workload
from hardware_profiles.layer_zeros import LayerZeros
from optimizer import files
from optimizer.architecture import LayerShape
from optimizer.float_layers import FloatLayers
from optimizer.manifest import DeviceFacts

__all__ = [
    "FILE_NAME",
    "CandidateRecord",
    "CompressionRound",
    "Correction",
    "DecisionRecord",
    "KeptDimensions",
    "KeptLayer",
    "RaceHeat",
    "ScoredPoint",
]

FILE_NAME = "decision.json"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RaceHeat(_Record):
    """One heat of the race: the candidate after `steps` optimizer steps."""

    steps: int
    dev: float
    survived: bool


class CandidateRecord(_Record):
    """A candidate as it was judged. `estimated_loss_increase` is in nats on calibration rows before any recovery."""

    name: str
    pattern: str
    precision: str
    runtime: str
    sparsity: float = 0.0
    hidden_size: int | None = None  # None in records of before it could differ
    layers: tuple[LayerShape, ...]
    predicted_ms: float
    predicted_low_ms: float
    predicted_high_ms: float
    predicted_speedup: float
    estimated_loss_increase: float | None  # None where no shape reaches the target
    refused: str | None = None
    race: tuple[RaceHeat, ...] = ()
    chosen: bool = False
    cut: str = "dense"  # the pattern's own name: dense, width, uniform, depth, hidden, unstructured, block, given, 2:4
    importance: str | None = None  # by which heads and neurons of a width are ranked
    zeros_by: str | None = None  # by which weights become zero
    layer_zeros: tuple[LayerZeros, ...] = ()  # each layer's share of zeros, where they differ
    tried_ms: tuple[float, ...] = ()  # what its shape took at each length, before it was trained; of the winner


class CompressionRound(_Record):
    """One round of the gradual compression: the shape it ended with and what it scored on dev (PyTorch).

    `hidden_size` is None where it is the teacher's.
    `kept_start`: no step did better than the weights before the first one, which therefore stayed; `best_step` is
    the one whose weights did. `layer_zeros`: each layer's share of zeros, where they differ.
    """

    name: str
    layers: tuple[LayerShape, ...]
    predicted_ms: float
    steps: int
    dev: float
    seconds: float
    sparsity: float = 0.0
    layer_zeros: tuple[LayerZeros, ...] = ()
    hidden_size: int | None = None
    kept_start: bool = False
    best_step: int | None = None


class Correction(_Record):
    """One comparison of predicted and measured latency of the finished student.

    The prediction is on the clock of the measurement: scaled by what the teacher took then and in the profile.
    """

    predicted_ms: float
    measured_ms: float
    speedup: float
    layers: tuple[LayerShape, ...]
    sparsity: float = 0.0
    hidden_size: int | None = None  # None where it is the teacher's


class KeptLayer(_Record):
    """Which heads, and how many neurons, of one teacher layer live on in the student, and what they were worth.

    `head_importance` [heads_total] and `ffn_importance`, the sum over all neurons, are Fisher's in nats a row, measured
    on the teacher; `ffn_importance_kept` is the share of that sum in the neurons that live on. Empty and None where
    nothing was measured.
    """

    layer: int
    heads: tuple[int, ...]
    heads_total: int
    ffn: int
    ffn_total: int
    head_importance: tuple[float, ...] = ()
    ffn_importance: float | None = None
    ffn_importance_kept: float | None = None


class KeptDimensions(_Record):
    """Which of the teacher's hidden dimensions live on in the student, in all its layers alike."""

    kept: tuple[int, ...]
    total: int


class ScoredPoint(_Record):
    """A model with a dev score and a latency: a point of the accuracy-against-latency plot."""

    name: str
    dev: float
    ms: float
    latency_is: str  # "measured" or "predicted"
    kind: str  # "teacher", "student", "baseline", "candidate", "round"


class DecisionRecord(_Record):
    """What the decision was, with its reasons."""

    format: int = 1
    device: DeviceFacts
    workload: Workload
    target: str
    runtime_options: dict[str, object]
    teacher_ms: float
    target_ms: float
    candidates: tuple[CandidateRecord, ...]
    reason: str
    not_profiled: tuple[str, ...] = ()  # precisions no faster here than another one, runtimes that do not work, and why
    rounds: tuple[CompressionRound, ...] = ()
    corrections: tuple[Correction, ...] = ()
    kept: tuple[KeptLayer, ...] = ()
    dimensions: KeptDimensions | None = None  # None where all live on
    float_layers: dict[str, FloatLayers] = {}  # what stays in fp32, by the name of the model
    points: tuple[ScoredPoint, ...] = ()

    def write(self, folder: Path) -> None:
        """Write `decision.json` into `folder`."""
        files.write_text_atomically(folder / FILE_NAME, self.model_dump_json(indent=2) + "\n")

    @classmethod
    def read(cls, folder: Path) -> DecisionRecord:
        """Read `decision.json` of a deployment."""
        return cls.model_validate_json((folder / FILE_NAME).read_text(encoding="utf-8"))
