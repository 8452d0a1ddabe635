"""Setting: everything the stages of one job share, fixed before the first of them decides anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from transformers import PreTrainedModel

from benchmarks.errors import TrimfitError
from benchmarks.workload import Workload
from hardware_profiles.device import Device
from hardware_profiles.layer_zeros import Sparsity, has_zeros
from hardware_profiles.runtimes import STOCK, Runtime
from optimizer.architecture import Architecture
from optimizer.candidates import Candidate, PricesAt
from optimizer.cut_schedule import DEFAULT_CUT_SCHEDULE, CutSchedule
from optimizer.distillation.black_box.lesson import Lesson
from optimizer.distillation.rows import ALL_ROWS, RowRule
from optimizer.effort import Effort
from optimizer.encoding import Encoded
from optimizer.engine import Engine, anchors_of
from optimizer.evaluation.held_out import HeldOut
from optimizer.float_layers import FloatLayers, LinearGroup, carried, share_of
from optimizer.manifest import TrainingFacts, VocabularyFacts
from optimizer.progress import Progress
from optimizer.pruning.importance import DEFAULT_IMPORTANCE, Importance
from optimizer.pruning.patterns import DEFAULT_ZEROS_BY, ZerosBy
from optimizer.target import MaxDrop, Target
from optimizer.tasks import Task

if TYPE_CHECKING:
    from optimizer.given_student import GivenStudent

__all__ = ["Baseline", "Setting", "learning_rates"]


@dataclass(frozen=True)
class Baseline:
    """The uncompressed teacher at one precision with one runtime, measured.

    Median milliseconds, dev score, file, and the divergence (nats a row) of its answers from the fp32 teacher's.
    `by_length` has the milliseconds at each length of the workload.
    """

    precision: str
    ms: float
    dev: float
    onnx: Path
    divergence: float
    runtime: str = STOCK
    float_layers: FloatLayers | None = None
    plain_ms: float | None = None  # of the file without layers in fp32, where there are some
    by_length: tuple[float, ...] = ()
    plain_by_length: tuple[float, ...] = ()

    @property
    def name(self) -> str:
        """Of its measurements, e.g. "teacher int8", "teacher bf16 openvino-ep"."""
        return f"teacher {self.precision}" + ("" if self.runtime == STOCK else f" {self.runtime}")

    @property
    def versus(self) -> str:
        """What speed-ups are said to be over, e.g. "teacher int8 onnxruntime-cpu"."""
        return f"teacher {self.precision} {self.runtime}"

    @property
    def groups(self) -> tuple[LinearGroup, ...]:
        """What stays in fp32 at a lower precision, lest score is lost."""
        return self.float_layers.groups if self.float_layers else ()


@dataclass(frozen=True)
class Setting:
    """The job's inputs in the form the stages use them. `train` and `dev` carry the teacher's logits; those of `train`,
    which students imitate, are mixed with a black box's where there is one.

    Where the vocabulary was trimmed, `teacher`, `tokenizer` and the rows have the tokens that stay, since students do;
    `whole` is the teacher with all of them. Baselines are of the whole one.
    """

    task: Task
    tokenizer: Any
    teacher: PreTrainedModel
    train: Encoded
    dev: Encoded
    test: Encoded | None
    device: Device
    engines: tuple[Engine, ...]  # the stock runtime first
    workload: Workload
    baselines: tuple[Baseline, ...]  # fp32 first
    target: Target
    effort: Effort
    objective: Any
    seed: int
    work: Path
    progress: Progress
    max_tokens: int  # at which texts are cut
    precision: str | None = None  # the only one the student may have
    pattern: str | None = None  # the only one of `PATTERNS` it may be made with
    whole: PreTrainedModel | None = None  # None where the vocabulary is
    held_out: tuple[HeldOut, ...] = ()  # to score at the end: the test part, or dev where there is none, first
    vocabulary: VocabularyFacts | None = None
    importance: Importance = DEFAULT_IMPORTANCE  # of heads and neurons
    lesson: Lesson | None = None  # what a black box taught
    own_logits: np.ndarray | None = None  # the teacher's on `train` alone, where the lesson is mixed in there
    zeros_by: ZerosBy = DEFAULT_ZEROS_BY
    schedule: CutSchedule = DEFAULT_CUT_SCHEDULE
    hidden_sizes: tuple[int, ...] = ()  # smaller than the teacher's, that are tried and known to the dense engines
    rows: RowRule = ALL_ROWS  # which of `train` a distillation uses, and how
    training: TrainingFacts | None = None  # what `train` is made of
    given: GivenStudent | None = None  # races along

    @property
    def allowed_baselines(self) -> tuple[Baseline, ...]:
        """The teacher at the precisions that the student may have."""
        return tuple(b for b in self.baselines if self.precision in (None, b.precision))

    @property
    def stock(self) -> Runtime:
        """The stock runtime, which baselines and all but zeros run with."""
        return self.engines[0].runtime

    def seen_by(self, candidate: Candidate) -> Setting:
        """The same setting with rows, tokenizer and objective as the candidate needs them: a given one its own."""
        given = self.given
        if given is None or not candidate.is_given:
            return self
        return replace(
            self,
            tokenizer=given.tokenizer,
            train=given.train,
            dev=given.dev,
            test=given.test,
            held_out=given.held_out,
            objective=given.objective,
            max_tokens=given.max_tokens,
            vocabulary=self.vocabulary if given.trimmed else None,
        )

    def engine(self, name: str) -> Engine:
        """The engine of a runtime's name. Raises TrimfitError when it has gone since an earlier run chose it."""
        for engine in self.engines:
            if engine.name == name:
                return engine
        raise TrimfitError(
            f"got a job for {name}, expected one for {', '.join(engine.name for engine in self.engines)}, which is all"
            " that works here now: mend it, or choose another --out to decide anew"
        )

    def runtime_of(self, candidate: Candidate) -> Runtime:
        """What executes a candidate on the device."""
        return self.engine(candidate.runtime).runtime.at(candidate.precision)

    def runtime_of_baseline(self, baseline: Baseline) -> Runtime:
        """What executes a baseline on the device."""
        return self.engine(baseline.runtime).runtime.at(baseline.precision)

    @property
    def teacher_ms(self) -> float:
        """The fp32 teacher's measured median, which speed-ups are against."""
        return self.baselines[0].ms

    @property
    def teacher_tokens(self) -> int:
        """Rows of the whole teacher's token embedding, which its baselines have."""
        return Architecture.of(self.whole or self.teacher).vocab_size

    @property
    def calibration(self) -> Encoded:
        """Labelled training rows, with the teacher's own logits, on which importance and sensitivity are measured."""
        own = self.train if self.own_logits is None else self.train.with_teacher(self.own_logits)
        known = own if self.training is None else own.take(range(self.training.labelled))
        return known.sample(self.effort.calibration_rows, seed=self.seed)

    def baseline(self, precision: str, runtime: str | None = None) -> Baseline:
        """The uncompressed teacher at a precision with a runtime; with the stock one where that runtime has none."""
        found = [b for b in self.baselines if b.precision == precision and b.runtime in (runtime, self.stock.name)]
        return next((b for b in found if b.runtime == runtime), found[0])

    def needed_in_fp32(self, precision: str, runtime: str | None = None) -> tuple[LinearGroup, ...]:
        """What of the teacher is expected to stay in fp32 at a precision in its students as well.

        Nothing where the teacher would be too slow with nothing in fp32, so that students must be cut: they are trained
        as they are then and may bear the precision. Which do not is seen when they are scored; to reckon with the
        teacher's fp32 layers would have all of them cut further.
        """
        baseline = self.baseline(precision, runtime)
        if baseline.plain_ms is None or isinstance(self.target, MaxDrop):
            return baseline.groups
        return () if baseline.plain_ms > self.target.milliseconds(self.teacher_ms) else baseline.groups

    def float_groups(self, candidate: Candidate, survivors: Sequence[int]) -> tuple[LinearGroup, ...]:
        """What is expected to be needed in fp32 as the candidate runs, as a student counts that keeps these layers.

        Nothing of a student that was given: its layers are not the teacher's.
        """
        if candidate.is_given:
            return ()
        return carried(self.needed_in_fp32(candidate.precision, candidate.runtime), survivors)

    def corrected(
        self, name: str, candidate: Candidate, shape: Architecture, sparsity: Sparsity, *ms: float
    ) -> Setting:
        """The same setting with a latency model that has learned what a real model took, at each of its lengths.

        The profile knows nothing of layers that stay in fp32: their predicted part of the time is taken off.
        """
        zeros = candidate.zeros if has_zeros(sparsity) else "dense"
        prices = self.prices(candidate.precision, candidate.runtime)
        plain = replace(prices, in_fp32={})
        share = plain.predict(shape, zeros, sparsity).ms / prices.predict(shape, zeros, sparsity).ms
        real = [share * each for each in ms]
        seen = anchors_of(name, shape, self.workload, candidate.precision, real, pattern=zeros, sparsity=sparsity)
        engines = (e.with_anchor(*seen) if e.name == candidate.runtime else e for e in self.engines)
        return replace(self, engines=tuple(engines))

    def prices(self, precision: str, runtime: str | None = None) -> PricesAt:
        """What pieces of the teacher cost on the device at a precision; with the stock runtime unless one is named."""
        engine = self.engines[0] if runtime is None else self.engine(runtime)
        teacher = Architecture.of(self.teacher)
        in_fp32 = share_of(self.needed_in_fp32(precision, engine.name), teacher.depth)
        return PricesAt(engine.latency, teacher, self.workload, precision, in_fp32)


def learning_rates(hidden_size: int) -> tuple[float, float]:
    """Peak learning rates (teacher, student): narrow encoders take, and need, higher ones than BERT-base's 3e-5."""
    return (5e-5, 1e-4) if hidden_size <= 512 else (3e-5, 5e-5)
