"""Training of teacher and student: the Hugging Face Trainer with an objective, a best checkpoint and a resume point."""

from __future__ import annotations

import json
import logging
import math
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel, PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

from optimizer import compute, files
from optimizer.compute import trains_in_bf16
from optimizer.distillation.imitation import Imitation
from optimizer.distillation.objectives import CrossEntropy, stages
from optimizer.distillation.pacing import WINDOW
from optimizer.distillation.row_choice import InOrder, rows_to_train_on, sampler_of, usable
from optimizer.distillation.rows import ALL_ROWS, RowRule
from optimizer.encoding import Encoded, collate
from optimizer.inference import autocast, predict
from optimizer.scoring import divergence_of, score
from optimizer.surgery import SurgeryReport

__all__ = ["Schedule", "TrainingReport", "micro_batch", "steps_within", "train"]

LARGE_EMBEDDING_SHARE = (
    0.6  # a table above this share of all parameters is left as it is: tokens are not what is pruned
)
DEV_ROWS_WHILE_TRAINING = 1000
CHECKPOINT_SECONDS = 45.0
OVERTIME = 1.3
TRIES = 4
FORWARD_SHARE = 0.3  # of a training step's time that scoring the same rows takes

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Schedule:
    """How one stage trains. `decay` lets the learning rate fall to zero; without it the rate stays.

    `rows` says which of the rows a distillation uses, in what order and with what weight.
    """

    steps: int
    learning_rate: float
    batch_size: int = 64
    warmup_share: float = 0.06
    decay: bool = True
    evaluations: int = 6
    minutes: float = math.inf  # a machine that got busy may take OVERTIME times as long, then training ends early
    patience: int = 0  # evaluations without a better dev score that end the second half; 0 never stops early
    takes_last: bool = False  # where the model is cut meanwhile: an earlier score is not of what it is to be
    score_alone: bool = False  # decides which weights are kept: where a score is what was promised
    seed: int = 0
    rows: RowRule = ALL_ROWS


@dataclass(frozen=True)
class TrainingReport:
    """What a stage did: optimizer steps, wall seconds, dev score and step of the weights that were kept."""

    steps: int
    seconds: float
    best_dev: float
    best_step: int

    @property
    def kept_start(self) -> bool:
        """Whether no step did better than the weights that training began with, which therefore stay."""
        return self.best_step == 0


def train(
    model: PreTrainedModel,
    rows: Encoded,
    dev: Encoded,
    *,
    objective: Any,
    schedule: Schedule,
    metric: str,
    folder: Path,
    teacher: PreTrainedModel | None = None,
    origin: SurgeryReport | None = None,
    callbacks: Sequence[TrainerCallback] = (),
    advance: Callable[[float], None] = lambda share: None,
) -> TrainingReport:
    """Train `model` in place and leave it with the weights that did best on dev.

    What is taught by a teacher drops nothing out: a student has less room than it needs, and soft answers keep it from
    learning rows by heart.

    Checkpoints go to `folder`; a call with the same folder after an interruption goes on from the last one.
    The weights before the first step compete as well: training that only hurts changes nothing. An objective that
    compares layers needs the `teacher`, and says more with the `origin` of the model's layers in it.
    """
    start = time.monotonic()
    frozen = _freeze_large_embeddings(model)
    imitation = Imitation(objective, model, teacher, origin, schedule.rows)
    needed = schedule.steps * schedule.batch_size
    rows = rows_to_train_on(schedule.rows, rows, model, needed=needed, seed=schedule.seed, folder=folder)
    dev = dev.sample(DEV_ROWS_WHILE_TRAINING, seed=0)
    best = _BestWeights(model, dev, metric, folder, schedule, advance)
    trainer = _ObjectiveTrainer(
        model=imitation,
        args=_arguments(folder, schedule, _rows_at_once(model, rows, objective, schedule)),
        train_dataset=rows,
        data_collator=lambda items: collate(items, rows.pad_token_id),
        callbacks=[*callbacks, best],  # the score is taken after the others have acted
    )
    trainer.in_order = sampler_of(
        schedule.rows, rows, steps=schedule.steps, batch_size=schedule.batch_size, seed=schedule.seed
    )
    trainer.model_accepts_loss_kwargs = False  # the loss is a mean over rows: micro-batches are averaged
    trainer.remove_callback(PrinterCallback)
    if not best.resumed:
        best.consider(0)
    with _dropout_as_in_training(model, objective, rows):
        if best.latest_step < schedule.steps:
            trainer.train(resume_from_checkpoint=_last_whole_checkpoint(folder) if best.resumed else None)
    best.restore()
    for parameter in frozen:
        parameter.requires_grad_(True)
    steps = max(trainer.state.global_step, best.latest_step)
    return TrainingReport(steps, time.monotonic() - start, best.score, best.step)


def steps_within(
    model: PreTrainedModel,
    rows: Encoded,
    objective: Any,
    *,
    minutes: float,
    epochs: float,
    schedule: Schedule,
    teacher: PreTrainedModel | None = None,
    origin: SurgeryReport | None = None,
) -> int:
    """Optimizer steps that fit `minutes` on this machine (measured), at most `epochs` passes over `rows`.

    A step includes what the objective asks of the `teacher`, and what the student is asked to choose its rows. What
    scoring dev takes meanwhile is taken off, up to half of the minutes.
    """
    rows = usable(schedule.rows, rows)
    seconds = plain = _seconds_a_step(Imitation(objective, model, teacher, origin), rows, schedule)
    if objective.needs:  # scoring asks no teacher
        plain = _seconds_a_step(Imitation(CrossEntropy(), model), rows, schedule)
    scoring = (schedule.evaluations + 1) * DEV_ROWS_WHILE_TRAINING * FORWARD_SHARE * plain / schedule.batch_size
    left = len(rows)
    if schedule.rows.asks_student:
        left = schedule.rows.most(len(rows))
        seconds += FORWARD_SHARE * plain * len(rows) / left
    affordable = int(max(60 * minutes - scoring, 30 * minutes) / seconds)
    if math.isfinite(epochs):
        affordable = min(affordable, math.ceil(epochs * left / schedule.batch_size))
    return max(8, affordable)


def _seconds_a_step(imitation: Imitation, rows: Encoded, schedule: Schedule) -> float:
    """Forward, backward and update of the mean batch, batches bucketed by length as in training.

    Timed is one batch of about the mean number of tokens, the fastest of a few tries: what others do on the machine at
    this moment does not count. An objective of several stages takes what they take in their shares of the steps.
    """
    imitation.train()
    model = imitation.student
    frozen = _freeze_large_embeddings(model)
    at_once = _rows_at_once(model, rows, imitation.objective, schedule)
    batches = [batch for _, batch in rows.sample(at_once * WINDOW, seed=0).buckets(at_once)]
    tokens = np.array([batch["input_ids"].numel() for batch in batches])
    typical = int(np.abs(tokens - tokens.mean()).argmin())
    fastest, begun = 0.0, 0.0
    with _dropout_as_in_training(model, imitation.objective, rows):
        for until, _ in stages(imitation.objective):
            fastest += (until - begun) * min(_seconds(imitation, batches[typical], begun) for _ in range(TRIES))
            begun = until
    imitation.zero_grad(set_to_none=True)
    for parameter in frozen:
        parameter.requires_grad_(True)
    trainable = sum(p.numel() for p in imitation.parameters()) - sum(p.numel() for p in frozen)
    a_batch = fastest * tokens.mean() / tokens[typical] * schedule.batch_size / at_once
    return float(a_batch) + compute.optimizer_seconds(trainable)


def _seconds(imitation: Imitation, batch: dict[str, torch.Tensor], share: float) -> float:
    batch = {name: value.to(next(imitation.parameters()).device) for name, value in batch.items()}
    compute.finish()
    started = time.monotonic()
    with autocast():
        value = imitation(**batch, share=share)
    value.backward()
    compute.finish()
    return time.monotonic() - started


class _ObjectiveTrainer(Trainer):
    """Trainer of an `Imitation`, which gives the loss itself; `in_order` replaces its own order of rows."""

    in_order: InOrder

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return self.in_order

    def compute_loss(
        self, model: torch.nn.Module, inputs: dict[str, torch.Tensor], return_outputs: bool = False, **_: Any
    ) -> Any:
        value = model(**inputs, share=self.state.global_step / self.state.max_steps)
        return (value, {}) if return_outputs else value


class _BestWeights(TrainerCallback):
    """Scores dev from time to time and keeps the best weights on disk beside the resume point."""

    def __init__(
        self,
        model: torch.nn.Module,
        dev: Encoded,
        metric: str,
        folder: Path,
        schedule: Schedule,
        advance: Callable[[float], None],
    ) -> None:
        self.model, self.dev, self.metric, self.advance = model, dev, metric, advance
        self.every = max(1, schedule.steps // schedule.evaluations)
        self.patience, self.last, self.takes_last = schedule.patience, schedule.steps, schedule.takes_last
        self.weights, self.note = folder / "best.safetensors", folder / "best.json"
        self.score, self.step, self.latest_step = -math.inf, 0, 0
        self.top, self.divergence = -math.inf, math.inf
        self.score_alone = schedule.score_alone
        self.saved_at = time.monotonic()
        self.deadline = self.saved_at + 60 * OVERTIME * schedule.minutes
        self.resumed = self.note.is_file() and self.weights.is_file()
        if self.resumed:
            known = json.loads(self.note.read_text())
            self.score, self.step, self.latest_step = known["score"], known["step"], known["latest_step"]
            self.top, self.divergence = known.get("top", self.score), known.get("divergence", math.inf)

    def consider(self, step: int) -> None:
        """Score the model; keep its weights if none did better.

        Scores within one standard error of the best one tell nothing; among those the one counts whose answers are
        nearest to the teacher's, which every row of dev tells, not only those that change sides (the one-standard-error
        rule of Breiman et al. 1984, "Classification and Regression Trees", section 3.4.3, with closeness for size).
        """
        self.latest_step = step
        logits = predict(self.model, self.dev, exact=False)
        value, apart = score(self.dev.labels, logits, self.metric), self._divergence(logits)
        logger.info("step %d: dev %s %.4f, divergence %.4f", step, self.metric, value, apart)
        self.top = max(self.top, value)
        least = self.top - self._standard_error()
        if self.takes_last or self.score < least or (value >= least and apart < self.divergence):
            self.score, self.step, self.divergence = value, step, apart
            state = {name: tensor.detach().contiguous().clone() for name, tensor in self.model.state_dict().items()}
            files.write_atomically(self.weights, lambda path: save_file(state, path))
        kept = {"score": self.score, "step": self.step, "divergence": self.divergence}
        note = {**kept, "top": self.top, "latest_step": step}
        files.write_text_atomically(self.note, json.dumps(note))

    def _divergence(self, logits: np.ndarray) -> float:
        """From the teacher; where there is none or the score alone counts, what has the higher score is the nearer."""
        if self.dev.teacher_logits is None or self.score_alone:
            return -score(self.dev.labels, logits, self.metric)
        return divergence_of(self.dev.teacher_logits, logits)

    def _standard_error(self) -> float:
        """Of the best score as a share of the rows; close enough for F1."""
        return math.sqrt(max(0.0, self.top * (1 - self.top)) / len(self.dev))

    def restore(self) -> None:
        """Load the best weights back into the model."""
        self.model.load_state_dict(load_file(self.weights))

    def on_step_end(self, args: TrainingArguments, state: Any, control: Any, **_: Any) -> None:
        """Advance the progress bar; score at the wanted steps and at the last one; save when it is time."""
        self.advance(state.global_step / self.last)
        if time.monotonic() - self.saved_at > CHECKPOINT_SECONDS:
            control.should_save, self.saved_at = True, time.monotonic()
        late = time.monotonic() > self.deadline
        if late or self._is_due(state.global_step):
            self.consider(state.global_step)
            stale = (state.global_step - self.step) // self.every
            given_up = 0 < self.patience <= stale and state.global_step > self.last / 2
            control.should_training_stop |= late or given_up

    def _is_due(self, step: int) -> bool:
        left = self.last - step
        return left == 0 or (step % self.every == 0 and left >= self.every // 2)


def _last_whole_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint that was written to its end; what an interruption left half-written is removed.

    The Trainer writes `trainer_state.json` last.
    """
    for checkpoint in folder.glob("checkpoint-*"):
        try:
            json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            shutil.rmtree(checkpoint)
    return get_last_checkpoint(str(folder))


def micro_batch(config: Any, longest: int, batch_size: int, available: int | None = None) -> int:
    """Rows whose activations fit into half of the free memory: `batch_size`, or a half, a quarter ... of it.

    Bytes a layer and row at 16 bits: s h (34 + 5 a s / h), Korthikanti et al. 2022, "Reducing Activation Recomputation
    in Large Transformer Models", eq. 1, with s tokens, h wide, a heads.
    """
    s, h, a = longest, config.hidden_size, config.num_attention_heads
    row = config.num_hidden_layers * s * h * (34 + 5 * a * s / h) * (1 if trains_in_bf16() else 2)
    room = (compute.free_memory() if available is None else available) / 2
    while batch_size > 1 and batch_size % 2 == 0 and batch_size * row > room:
        batch_size //= 2
    return batch_size


def _rows_at_once(model: PreTrainedModel, rows: Encoded, objective: Any, schedule: Schedule) -> int:
    """Rows of a forward pass; where layers are compared, these are held in fp32 as well: about as much again."""
    available = compute.free_memory() // 2 if objective.needs else None
    return micro_batch(model.config, int(rows.lengths.max()), schedule.batch_size, available)


def _arguments(folder: Path, schedule: Schedule, rows_at_once: int) -> TrainingArguments:
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=schedule.steps,
        per_device_train_batch_size=rows_at_once,
        gradient_accumulation_steps=schedule.batch_size // rows_at_once,
        learning_rate=schedule.learning_rate,
        warmup_steps=math.ceil(schedule.warmup_share * schedule.steps),
        lr_scheduler_type="linear" if schedule.decay else "constant_with_warmup",
        weight_decay=0.01,
        optim="adamw_torch_fused",
        bf16=trains_in_bf16(),
        use_cpu=compute.training_device().type == "cpu",
        seed=schedule.seed,
        data_seed=schedule.seed,
        save_strategy="no",  # by the clock instead, see _BestWeights.on_step_end
        save_total_limit=1,
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
    )
    # several GPUs are for torchrun: the Trainer would else split every batch over them, in threads
    arguments._n_gpu = min(1, arguments.n_gpu)
    return arguments


@contextmanager
def _dropout_as_in_training(model: torch.nn.Module, objective: Any, rows: Encoded) -> Iterator[None]:
    """Within it, what a teacher teaches drops no hidden unit and no attention; without a teacher the rates stay."""
    if rows.teacher_logits is None or isinstance(objective, CrossEntropy):
        yield
        return
    rates = [
        (module, name, getattr(module, name))
        for module in model.modules()
        for name in (("p",) if isinstance(module, torch.nn.Dropout) else ("dropout_prob",))
        if isinstance(getattr(module, name, None), float)
    ]
    try:
        for module, name, _ in rates:
            setattr(module, name, 0.0)
        yield
    finally:
        for module, name, rate in rates:
            setattr(module, name, rate)


def _freeze_large_embeddings(model: torch.nn.Module) -> list[torch.nn.Parameter]:
    table = model.get_input_embeddings().weight  # type: ignore[operator]
    if table.numel() < LARGE_EMBEDDING_SHARE * sum(p.numel() for p in model.parameters()) or not table.requires_grad:
        return []
    table.requires_grad_(False)
    return [table]
