"""GivenStudent: a smaller checkpoint that a person gives, which is distilled as it is and races the teacher's cuts."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from benchmarks.errors import TrimfitError
from benchmarks.workload import Workload
from optimizer.architecture import Architecture
from optimizer.compute import on_training_device
from optimizer.distillation.imitation import Imitation
from optimizer.distillation.objectives import SoftTargets
from optimizer.encoders import family_of
from optimizer.encoding import Encoded, encode
from optimizer.evaluation.held_out import HeldOut
from optimizer.model_folder import inspect_folder, load_classifier
from optimizer.narrowing import keep_outputs
from optimizer.progress import Progress
from optimizer.surgery import SurgeryReport
from optimizer.tasks import Rows, Task
from optimizer.teacher import Teacher, load_tokenizer, match_labels, token_limit
from optimizer.vocabulary import Start
from optimizer.vocabulary.table import keep_tokens, pinned_ids

__all__ = ["MOST_TOKENS", "GivenCheckpoint", "GivenStudent", "fit_given", "read_given"]

MOST_TOKENS = 1.05
"""Times the teacher's tokens for the same texts: models are timed at equal tokens, and beyond this such a speed-up
would not be one on equal texts."""
_UNCUT = 1 << 20  # tokens


@dataclass(frozen=True)
class GivenCheckpoint:
    """What lies in the folder: a classifier of the task's labels in their order, or an encoder with a fresh head.

    `longest` is how many tokens a row it takes; `tokens` how many it writes texts with, relative to the teacher's.
    """

    folder: Path
    model: PreTrainedModel
    tokenizer: Any
    own_tokenizer: bool
    longest: int
    tokens: float

    def __str__(self) -> str:
        shape = Architecture.of(self.model)
        which = f"its own tokenizer, {self.tokens:.2f}x the tokens" if self.own_tokenizer else "the teacher's tokenizer"
        layers = f"{shape.depth} layer{'s' if shape.depth > 1 else ''}"
        return f"given student: {layers}, {shape.hidden_size} wide, {which}"


@dataclass(frozen=True)
class GivenStudent:
    """The checkpoint before it is trained, and everything that a training and a deployment of it need.

    Rows are in its own tokens, with the teacher's logits; `trimmed` says that tokens went as they did from the teacher.
    """

    model: PreTrainedModel
    tokenizer: Any
    train: Encoded
    dev: Encoded
    test: Encoded | None
    held_out: tuple[HeldOut, ...]
    objective: Any
    max_tokens: int
    trimmed: bool = False

    @cached_property
    def origin(self) -> SurgeryReport:
        """A surgery that kept all of it: nothing in it was cut from the teacher."""
        return SurgeryReport.untouched(Architecture.of(self.model))

    def untrained(self) -> PreTrainedModel:
        """A copy to train."""
        return copy.deepcopy(self.model)


def read_given(folder: Path, task: Task, tokenizer: Any, workload: Workload, *, seed: int) -> GivenCheckpoint:
    """Read a checkpoint and see whether it can be a student at all.

    Args:
        folder: as for a teacher: a sequence classifier of the task's labels, or an encoder.
        task: in the teacher's label order.
        tokenizer: the teacher's.
        workload: what is asked of the student.
        seed: of a fresh head.

    Raises TrimfitError for a model that is refused (see `inspect_folder`), other labels, a model that takes fewer
    tokens than are asked, and a tokenizer that needs more of them than the teacher's.
    """
    model = on_training_device(_classifier(folder, task.labels, seed))
    own = load_tokenizer(folder)
    table, most = Architecture.of(model).vocab_size, max(own.get_vocab().values())
    if most >= table:
        raise TrimfitError(
            f"the tokenizer of {folder} has token {most}, its model's embedding {table} rows: copy both again"
        )
    longest, asked = token_limit(model.config, own), max(point.seq_len for point, _ in workload.points())
    if longest < asked:
        raise TrimfitError(f"{folder} takes {longest} tokens a row, expected the {asked} that are asked of it")
    mine, theirs = (encode(task.dev, each, _UNCUT) for each in (own, tokenizer))
    same = mine.input_ids == theirs.input_ids and own.get_vocab() == tokenizer.get_vocab()
    ratio = float(mine.lengths.sum() / theirs.lengths.sum())
    if not same and ratio > MOST_TOKENS:
        raise TrimfitError(
            f"{folder} writes the dev texts with {ratio:.2f}x the teacher's tokens, expected at most {MOST_TOKENS:g}x: "
            "faster at equal tokens would not be faster on equal texts; give a student with the teacher's tokenizer"
        )
    return GivenCheckpoint(folder, model, own, not same, longest, ratio)


def fit_given(
    given: GivenCheckpoint,
    teacher: Teacher,
    start: Start,
    held_out: tuple[HeldOut, ...],
    objective: Any,
    max_tokens: int,
    progress: Progress,
) -> GivenStudent:
    """Write the rows in the student's tokens, and settle what it can imitate.

    With the teacher's tokenizer it loses the tokens that the teacher's students lose, where that moves no position. An
    objective that compares layers needs the same tokens on both sides and layers that match; else it is soft targets.

    Args:
        given: from `read_given`.
        teacher: with its answers.
        start: what other students start from.
        held_out: sets to score, whose student's side is written anew.
        objective: that was asked for.
        max_tokens: at which texts are cut for the teacher.
        progress: where to tell.
    """
    model, tokenizer, longest = copy.deepcopy(given.model), given.tokenizer, min(max_tokens, given.longest)
    trimmed = False
    if not given.own_tokenizer and start.kept and pinned_ids(model, tokenizer.pad_token_id) <= set(start.kept):
        model, tokenizer, trimmed = keep_tokens(model, start.kept), start.tokenizer, True
    same_tokens = not given.own_tokenizer and trimmed == bool(start.kept)
    logits = teacher.train.teacher_logits
    assert logits is not None
    task = teacher.task
    train = encode(Rows(teacher.texts, teacher.train.labels), tokenizer, longest).with_teacher(logits)
    dev = replace(encode(task.dev, tokenizer, longest), teacher_logits=teacher.dev.teacher_logits)
    progress.say(str(given))
    return GivenStudent(
        model=model,
        tokenizer=tokenizer,
        train=train,
        dev=dev,
        test=None if task.test is None else encode(task.test, tokenizer, longest),
        held_out=tuple(replace(held, student=encode(held.rows, tokenizer, longest)) for held in held_out),
        objective=_objective(objective, model, start, same_tokens=same_tokens, progress=progress),
        max_tokens=longest,
        trimmed=trimmed,
    )


def _classifier(folder: Path, labels: tuple[str, ...], seed: int) -> PreTrainedModel:
    """The folder's model with one logit for each of `labels`, in their order."""
    found = inspect_folder(folder)
    if found.labels is None:
        return load_classifier(folder, len(labels), dict(enumerate(labels)), seed=seed)
    mine = match_labels(labels, tuple(found.labels[i] for i in range(len(found.labels))))
    if sorted(mine) != sorted(labels):
        raise TrimfitError(
            f"{folder} classifies into {', '.join(mine)}, the teacher into {', '.join(labels)}, expected the same: "
            "give a student of the same labels, or an encoder without a classifier"
        )
    model = load_classifier(folder, len(mine), dict(enumerate(mine)))
    order = [mine.index(name) for name in labels]
    keep_outputs(model.get_submodule(family_of(model.config).class_layer), torch.tensor(order))
    model.config.id2label = dict(enumerate(labels))
    model.config.label2id = {name: index for index, name in enumerate(labels)}
    return model


def _objective(objective: Any, model: PreTrainedModel, start: Start, *, same_tokens: bool, progress: Progress) -> Any:
    """What the student can imitate of what was asked."""
    if not objective.needs:
        return objective
    reason = "layers can only be compared on the same tokens"
    if same_tokens:
        try:
            Imitation(objective, model, start.model)
        except TrimfitError as error:
            reason = str(error)
        else:
            return objective
    progress.say(f"the given student imitates the teacher's answers only: {reason}")
    return SoftTargets()
