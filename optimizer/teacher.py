"""Teacher: the model that is imitated, used as it is or made by fine-tuning the person's encoder."""

from __future__ import annotations

import json
import math
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
from optimizer.compute import on_training_device
from optimizer.distillation.black_box.lesson import combined
from optimizer.distillation.objectives import CrossEntropy, SoftTargets
from optimizer.distillation.trainer import Schedule, steps_within, train
from optimizer.effort import Effort
from optimizer.encoding import LENGTH_SHARE, LONGEST, Encoded, encode
from optimizer.inference import predict
from optimizer.manifest import TrainingFacts
from optimizer.model_folder import inspect_folder, load, load_classifier, save
from optimizer.progress import Progress
from optimizer.quiet import quiet
from optimizer.scoring import score
from optimizer.setting import learning_rates
from optimizer.tasks import Rows, Task
from optimizer.training_rows import NO_MORE, MoreTexts

__all__ = [
    "Teacher",
    "encode_parts",
    "load_tokenizer",
    "match_labels",
    "position_limit",
    "prepare_teacher",
    "token_limit",
    "untrained",
]

GENERIC_LABEL = re.compile(r"LABEL_\d+")
FINE_TUNING_EVALUATIONS = 6
PATIENCE = 3


@dataclass(frozen=True)
class Teacher:
    """The teacher with the task in its label order, and the encoded rows with its logits beside them.

    Where the training rows came with a black box's logits, both are mixed in `train`, and `own_logits` are its own.
    `texts` are those of `train`, the labelled ones first, as `training` counts them.
    """

    model: PreTrainedModel
    task: Task
    train: Encoded
    dev: Encoded
    test: Encoded | None
    texts: tuple[str, ...] = ()
    training: TrainingFacts | None = None
    own_logits: np.ndarray | None = None

    @property
    def joined_texts(self) -> tuple[str, ...]:
        """Those of `train` that are no labelled rows."""
        return self.texts[self.training.labelled :] if self.training else ()


def load_tokenizer(folder: Path) -> Any:
    """The folder's own tokenizer. Raises TrimfitError when there is none or it cannot pad."""
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
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
    return on_training_device(load_classifier(folder, len(task.labels), dict(enumerate(task.labels)), seed=seed)), task


def encode_parts(task: Task, tokenizer: Any, limit: int, seq_len: int | None) -> tuple[dict[str, Encoded], int]:
    """Tokenised train, dev and test, and the tokens at which texts are cut.

    That is `seq_len`; None keeps nearly all texts whole, up to 256 tokens. `limit` is what the model takes at most.
    """
    longest = _longest(task, tokenizer, limit, seq_len)
    parts = {"train": task.train, "dev": task.dev, "test": task.test}
    return {part: encode(rows, tokenizer, longest) for part, rows in parts.items() if rows is not None}, longest


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
    max_tokens: int,
    more: MoreTexts = NO_MORE,
) -> Teacher:
    """Use the classifier as it is, or fine-tune the encoder first, then let it answer every training and dev row once.

    Args:
        folder: where `model` came from; tells whether it is a classifier already.
        model: as `untrained` gave it; trained in place where it has to be.
        task: in the model's label order.
        rows: from `encode_parts`; training rows that carry logits are taught with these.
        tokenizer: the model's.
        effort: how long to train.
        seed: of the order of rows.
        work: the stage's folder; a second call goes on from what it holds.
        progress: where to tell.
        max_tokens: at which texts are cut.
        more: texts that join the training rows once the teacher can label them.
    """
    found = inspect_folder(folder)
    done = work / "model"
    if done.is_dir():
        model = on_training_device(load(done))
    else:
        if not found.has_classifier:
            _fine_tune(model, rows["train"], rows["dev"], task, effort, seed, work, progress)
        _save_whole(model, tokenizer, done)
    most = _rows_within(model, rows["train"], effort, work / "rows.json")
    chosen = rows["train"].drawn(most, seed)
    labelled, train = task.train.take(chosen), rows["train"].take(chosen)
    asked, train = train.teacher_logits, replace(train, teacher_logits=None)
    table = model.get_input_embeddings().weight.detach().cpu().numpy()
    joined = more.join(labelled, most - len(labelled), tokenizer, table, seed)
    if more != NO_MORE:
        progress.say(str(joined.facts))
        unlabelled = Rows(joined.texts, np.zeros(len(joined.texts), dtype=int))
        train = train.joined(encode(unlabelled, tokenizer, max_tokens)) if joined.texts else train
    train_rows, dev_rows = _with_answers(model, train, rows["dev"], work / "answers.npz", progress)
    _warn_if_useless(task, dev_rows, progress)
    own = train_rows.teacher_logits
    assert own is not None
    if asked is not None:
        mixed = own.copy()
        mixed[: len(labelled)] = combined(asked, own[: len(labelled)])
        train_rows = train_rows.with_teacher(mixed)
    return Teacher(
        model=model,
        task=task,
        train=_labelled(train_rows, joined.facts.labelled),
        dev=dev_rows,
        test=rows.get("test"),
        texts=(*labelled.texts, *joined.texts),
        training=joined.facts,
        own_logits=None if asked is None else own,
    )


def match_labels(data: tuple[str, ...], model: tuple[str, ...]) -> tuple[str, ...]:
    """The data's label names in the order of the model's logits; labels the data lacks keep the model's name.

    Matched are: equal names; names equal but for their case, where that is unambiguous; the indices 0 to n-1, or
    False and True for two classes, in the model's own order.
    Raises TrimfitError when a label of the data has no logit.
    """
    if set(data) <= set(model):
        return model
    by_name = {name.lower(): name for name in data}
    lowered = [name.lower() for name in model]
    if len(by_name) == len(data) and len(set(lowered)) == len(model) and set(by_name) <= set(lowered):
        return tuple(by_name.get(name.lower(), name) for name in model)
    for indices in (tuple(map(str, range(len(model)))), ("False", "True")):
        if set(data) <= set(indices) and len(indices) == len(model):
            return indices
    raise TrimfitError(
        f"the model's labels are {', '.join(model)}, the data's are {', '.join(data)}: "
        "name the model's in config.json (id2label), or relabel the data"
    )


def token_limit(config: Any, tokenizer: Any) -> int:
    """Tokens a row that the model and its tokenizer take."""
    return min(int(tokenizer.model_max_length), position_limit(config))


def position_limit(config: Any) -> int:
    """Tokens a row that the model takes: its positions, less those that RoBERTa skips up to the padding id."""
    skipped = config.pad_token_id + 1 if config.model_type in {"roberta", "xlm-roberta"} else 0
    return int(config.max_position_embeddings) - skipped


def _longest(task: Task, tokenizer: Any, limit: int, seq_len: int | None) -> int:
    if seq_len is not None:
        if seq_len > limit:
            raise TrimfitError(
                f"--seq-len {seq_len} is more than the {limit} tokens the model takes: give at most {limit}"
            )
        return seq_len
    some = task.train.take(range(0, len(task.train), max(1, len(task.train) // 5000)))
    return int(np.percentile(encode(some, tokenizer, min(limit, LONGEST)).lengths, LENGTH_SHARE, method="higher"))


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
    objective = CrossEntropy() if rows.teacher_logits is None else SoftTargets()
    schedule = Schedule(0, rate, evaluations=FINE_TUNING_EVALUATIONS, patience=PATIENCE, seed=seed)
    note = work / "steps.json"
    if not note.is_file():
        steps = steps_within(
            model,
            rows,
            objective,
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
            objective=objective,
            schedule=replace(schedule, steps=steps, minutes=effort.teacher_minutes),
            metric=task.metric,
            folder=work / "training",
            advance=advance,
        )
    progress.say(f"teacher: dev {task.metric} {report.best_dev:.4f} at step {report.best_step} of {report.steps}")


def _rows_within(model: PreTrainedModel, rows: Encoded, effort: Effort, note: Path) -> int:
    """Training rows that all student stages together can look at in their minutes: more need no answer."""
    if not note.is_file():
        minutes = 2 * effort.race_minutes + effort.compress_minutes + effort.recover_minutes
        schedule = Schedule(0, 0.0)
        steps = steps_within(model, rows, CrossEntropy(), minutes=minutes, epochs=math.inf, schedule=schedule)
        files.write_text_atomically(note, json.dumps(steps * schedule.batch_size))
    return int(json.loads(note.read_text(encoding="utf-8")))


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


def _labelled(rows: Encoded, known: int) -> Encoded:
    """The rows with the teacher's labels behind the first `known` ones."""
    assert rows.teacher_logits is not None
    return replace(rows, labels=np.concatenate([rows.labels[:known], rows.teacher_logits[known:].argmax(axis=1)]))


def _warn_if_useless(task: Task, dev: Encoded, progress: Progress) -> None:
    assert dev.teacher_logits is not None
    majority = float(np.bincount(dev.labels).max() / len(dev))
    accuracy = score(dev.labels, dev.teacher_logits, "accuracy")
    if accuracy <= majority:
        progress.say(
            f"warning: the teacher's dev accuracy {accuracy:.3f} is no better than always answering the most "
            f"frequent class, {majority:.3f}"
        )
