"""Teacher: the model that is imitated, used as it is or made by fine-tuning the person's encoder."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoTokenizer, PreTrainedModel

from benchmarks.errors import TrimfitError
from optimizer import files
from optimizer.distillation.objectives import CrossEntropy
from optimizer.distillation.trainer import Schedule, steps_within, train
from optimizer.effort import Effort
from optimizer.encoding import LENGTH_SHARE, LONGEST, Encoded, encode
from optimizer.inference import predict
from optimizer.model_folder import inspect_folder, load, load_classifier, save
from optimizer.progress import Progress
from optimizer.quiet import quiet
from optimizer.scoring import score
from optimizer.setting import learning_rates
from optimizer.tasks import Task

__all__ = ["Teacher", "encode_parts", "load_tokenizer", "match_labels", "prepare_teacher", "untrained"]

GENERIC_LABEL = re.compile(r"LABEL_\d+")
FINE_TUNING_EVALUATIONS = 6
PATIENCE = 3


@dataclass(frozen=True)
class Teacher:
    """The teacher with the task in its label order, the encoded rows with its logits beside them, and whether it was
    fine-tuned here."""

    model: PreTrainedModel
    task: Task
    train: Encoded
    dev: Encoded
    test: Encoded | None
    fine_tuned: bool


def load_tokenizer(folder: Path) -> Any:
    """The folder's own tokenizer. Raises TrimfitError when there is none or it cannot pad."""
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        raise TrimfitError(
            f"{folder} holds no tokenizer that can be loaded ({reason}): save it beside the model"
        ) from error
    if tokenizer.pad_token_id is None:
        raise TrimfitError(f"the tokenizer of {folder} has no pad token: set pad_token in tokenizer_config.json")
    return tokenizer


def untrained(folder: Path, task: Task, *, seed: int) -> tuple[PreTrainedModel, Task]:
    """The model as it lies in the folder (an encoder with a fresh head), and the task in its label order.

    Raises TrimfitError when the model's labels are not the data's.
    """
    found = inspect_folder(folder)
    if found.labels is not None:
        task = task.relabelled(match_labels(task.labels, tuple(found.labels[i] for i in range(len(found.labels)))))
    return load_classifier(folder, len(task.labels), dict(enumerate(task.labels)), seed=seed), task


def encode_parts(task: Task, tokenizer: Any, seq_len: int | None) -> dict[str, Encoded]:
    """Tokenised train, dev and test; texts are cut at `seq_len` tokens, None keeps nearly all whole, up to 256."""
    longest = _longest(task, tokenizer, seq_len)
    parts = {"train": task.train, "dev": task.dev, "test": task.test}
    return {part: encode(rows, tokenizer, longest) for part, rows in parts.items() if rows is not None}


def prepare_teacher(
    folder: Path,
    model: PreTrainedModel,
    task: Task,
    rows: Mapping[str, Encoded],
    tokenizer: Any,
    *,
    effort: Effort,
    seed: int,
    work: Path,
    progress: Progress,
) -> Teacher:
    """Use the classifier as it is, or fine-tune the encoder first, then let it answer every training and dev row once.

    Args:
        folder: where `model` came from; tells whether it is a classifier already.
        model: as `untrained` gave it; trained in place where it has to be.
        task: in the model's label order.
        rows: from `encode_parts`.
        tokenizer: the model's.
        effort: how long to train.
        seed: of the order of rows.
        work: the stage's folder; a second call goes on from what it holds.
        progress: where to tell.
    """
    found = inspect_folder(folder)
    done = work / "model"
    if done.is_dir():
        model = load(done)
    else:
        if not found.has_classifier:
            _fine_tune(model, rows["train"], rows["dev"], task, effort, seed, work, progress)
        _save_whole(model, tokenizer, done)
    train_rows, dev_rows = _with_answers(model, rows["train"], rows["dev"], work / "answers.npz", progress)
    _warn_if_useless(task, dev_rows, progress)
    return Teacher(model, task, train_rows, dev_rows, rows.get("test"), not found.has_classifier)


def match_labels(data: tuple[str, ...], model: tuple[str, ...]) -> tuple[str, ...]:
    """The data's label names in the order of the model's logits.

    Names are matched without regard to case; a model without names (LABEL_0, ...) takes labels that are its indices.
    Raises TrimfitError when a label of the data has no logit.
    """
    by_name = {name.lower(): name for name in data}
    if set(by_name) <= {name.lower() for name in model}:
        return tuple(by_name.get(name.lower(), name) for name in model)
    indices = tuple(str(index) for index in range(len(model)))
    if set(data) <= set(indices) and all(GENERIC_LABEL.fullmatch(name) or name in indices for name in model):
        return indices
    raise TrimfitError(
        f"the model's labels are {', '.join(model)}, the data's are {', '.join(data)}: "
        "name the model's in config.json (id2label), or relabel the data"
    )


def _longest(task: Task, tokenizer: Any, seq_len: int | None) -> int:
    # a tokenizer without a limit says 1e30
    limit = min(int(tokenizer.model_max_length), 512)
    if seq_len is not None:
        if seq_len > limit:
            raise TrimfitError(
                f"--seq-len {seq_len} is more than the {limit} tokens the model takes: give at most {limit}"
            )
        return seq_len
    sample = encode(
        task.train.take(range(0, len(task.train), max(1, len(task.train) // 5000))),
        tokenizer,
        min(limit, LONGEST),
    )
    return int(np.percentile(sample.lengths, LENGTH_SHARE, method="higher"))


def _fine_tune(
    model: PreTrainedModel,
    rows: Encoded,
    dev: Encoded,
    task: Task,
    effort: Effort,
    seed: int,
    work: Path,
    progress: Progress,
) -> None:
    rate, _ = learning_rates(model.config.hidden_size)
    schedule = Schedule(0, rate, evaluations=FINE_TUNING_EVALUATIONS, patience=PATIENCE, seed=seed)
    note = work / "steps.json"
    if not note.is_file():
        steps = steps_within(
            model,
            rows,
            CrossEntropy(),
            minutes=effort.teacher_minutes,
            epochs=effort.teacher_epochs,
            schedule=schedule,
        )
        files.write_text_atomically(note, json.dumps(steps))
    steps = int(json.loads(note.read_text()))
    with progress.step(f"Fine-tuning the teacher, {steps} steps") as advance:
        report = train(
            model,
            rows,
            dev,
            objective=CrossEntropy(),
            schedule=replace(schedule, steps=steps, minutes=effort.teacher_minutes),
            metric=task.metric,
            folder=work / "training",
            advance=advance,
        )
    progress.say(f"teacher: dev {task.metric} {report.best_dev:.4f} at step {report.best_step} of {report.steps}")


def _save_whole(model: PreTrainedModel, tokenizer: Any, folder: Path) -> None:
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    save(model, tokenizer, part)
    part.rename(folder)
    shutil.rmtree(folder.parent / "training", ignore_errors=True)


def _with_answers(
    model: PreTrainedModel, train_rows: Encoded, dev: Encoded, path: Path, progress: Progress
) -> tuple[Encoded, Encoded]:
    if not path.is_file():
        with progress.step(f"Asking the teacher about {len(train_rows)} rows") as advance:
            answers = {
                "train": predict(model, train_rows, exact=False, advance=advance),
                "dev": predict(model, dev),
            }

            def write(part: Path) -> None:
                with part.open("wb") as file:
                    np.savez(file, train=answers["train"], dev=answers["dev"])

            files.write_atomically(path, write)
    with np.load(path) as known:
        return train_rows.with_teacher(known["train"]), dev.with_teacher(known["dev"])


def _warn_if_useless(task: Task, dev: Encoded, progress: Progress) -> None:
    assert dev.teacher_logits is not None
    majority = float(np.bincount(dev.labels).max() / len(dev))
    accuracy = score(dev.labels, dev.teacher_logits, "accuracy")
    if accuracy <= majority:
        progress.say(
            f"warning: the teacher's dev accuracy {accuracy:.3f} is no better than always answering the most "
            f"frequent class, {majority:.3f}"
        )
