"""Stage: whether the vocabulary is trimmed, and what students then start from."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedModel

from benchmarks.errors import TrimfitError
from optimizer import files
from optimizer.encoding import Encoded, encode
from optimizer.float_choice import is_lost
from optimizer.inference import predict
from optimizer.manifest import VocabularyFacts
from optimizer.progress import Progress
from optimizer.scoring import score
from optimizer.teacher import Teacher
from optimizer.vocabulary.table import keep_tokens, pinned_ids, share_of_table
from optimizer.vocabulary.texts import read_texts
from optimizer.vocabulary.trimming import Trimmed, check_tokenizer, trim

__all__ = ["CHOICES", "LEAST_SAVING", "Start", "check_choice", "fit_vocabulary"]

CHOICES = ("keep", "trim")
LEAST_SAVING = 1 / 3
"""Of all parameters: unused tokens go unasked where that saves as much. A model of one language (BERT-base: a table of
21 %, MiniLM-L6 of 52 %, half of it in use) stays whole, for its users will write words that the data lacks; of a
multilingual one (XLM-R-base: 69 %, e5-small: 82 %) most rows are for languages that the data is not in."""


@dataclass(frozen=True)
class Start:
    """What students start from: the teacher with the tokens that stay, and the rows in their ids.

    `facts` say what was removed and what that did; None where the vocabulary is whole. `kept` has the old id of each
    token that stays.
    """

    model: PreTrainedModel
    tokenizer: Any
    train: Encoded
    dev: Encoded
    test: Encoded | None
    facts: VocabularyFacts | None = None
    kept: tuple[int, ...] = ()


def check_choice(choice: str | None, tokenizer: Any, named: Sequence[Path] = (), column: str = "text") -> None:
    """Refuse what cannot be done before anything else is.

    Args:
        choice: "keep", "trim" or None.
        tokenizer: to trim.
        named: files whose tokens stay; read once to see that they can be.
        column: of their texts, where they are data files.

    Raises TrimfitError for another choice, a tokenizer that cannot be trimmed, and files that cannot be read.
    """
    if choice not in (None, *CHOICES):
        raise TrimfitError(f"got --vocabulary {choice}, expected one of {', '.join(CHOICES)}")
    if choice == "keep" and named:
        raise TrimfitError("got --keep-vocabulary with --vocabulary keep, which keeps all: give one of them")
    if choice == "trim":
        check_tokenizer(tokenizer)
    for path in named:
        for _ in read_texts(path, column):
            pass


def fit_vocabulary(
    choice: str | None,
    teacher: Teacher,
    tokenizer: Any,
    more_texts: Iterable[str],
    max_tokens: int,
    work: Path,
    progress: Progress,
) -> Start:
    """Remove the tokens that neither the training texts nor `more_texts` use, or say why not.

    Training rows keep their logits bit for bit, and so do other rows of tokens that stay. Dev texts do not count as
    used, so that their score tells what the cut does to unseen text.

    Args:
        choice: "keep"; "trim"; None trims where that saves a third of all parameters and dev does not suffer.
        teacher: with its whole vocabulary; unchanged afterwards.
        tokenizer: the teacher's.
        more_texts: whose tokens also stay.
        max_tokens: at which texts are cut.
        work: the stage's folder; a second call goes on from what it holds.
        progress: where to tell.

    Raises TrimfitError, unless `choice` is None, for a tokenizer whose tokens cannot be removed.
    """
    whole = Start(teacher.model, tokenizer, teacher.train, teacher.dev, teacher.test)
    if choice == "keep" or (choice is None and share_of_table(teacher.model) < LEAST_SAVING):
        return whole
    try:
        with progress.step("Trimming the vocabulary"):
            trimmed = _trimmed(teacher, tokenizer, more_texts, work / "tokenizer")
            start = _start(teacher, tokenizer, trimmed, max_tokens, work / "facts.json")
    except TrimfitError as error:
        if choice == "trim":
            raise
        progress.say(f"the vocabulary stays whole: {error}")
        return whole
    assert start.facts is not None
    reason = None if choice == "trim" else _reason_to_keep(teacher, start)
    if reason:
        progress.say(f"the vocabulary stays whole: {reason}")
        return whole
    progress.say(f"{start.facts}")
    return start


def _trimmed(teacher: Teacher, tokenizer: Any, more_texts: Iterable[str], folder: Path) -> Trimmed:
    if (folder / "kept.json").is_file():
        return Trimmed.load(folder)
    texts = (text for some in (teacher.task.train.texts, more_texts) for text in some)
    return trim(tokenizer, texts, folder, pinned_ids(teacher.model, tokenizer.pad_token_id))


def _start(teacher: Teacher, tokenizer: Any, trimmed: Trimmed, max_tokens: int, note: Path) -> Start:
    task, dev = teacher.task, teacher.dev
    model = keep_tokens(copy.deepcopy(teacher.model), trimmed.kept)
    new_dev = replace(encode(task.dev, trimmed.tokenizer, max_tokens), teacher_logits=dev.teacher_logits)
    test = None if task.test is None else encode(task.test, trimmed.tokenizer, max_tokens)
    start = Start(model, trimmed.tokenizer, trimmed.renumbered(teacher.train), new_dev, test, kept=trimmed.kept)
    if not note.is_file():
        _check_training_rows(teacher, tokenizer, trimmed, max_tokens)
        facts = _facts(teacher, tokenizer, trimmed, start)
        files.write_text_atomically(note, facts.model_dump_json(indent=1))
    return replace(start, facts=VocabularyFacts.model_validate(json.loads(note.read_text(encoding="utf-8"))))


def _check_training_rows(teacher: Teacher, tokenizer: Any, trimmed: Trimmed, max_tokens: int) -> None:
    """What must hold after trimming, checked on every row. Raises TrimfitError where it does not."""
    before = trimmed.renumbered(encode(teacher.task.train, tokenizer, max_tokens)).input_ids
    after = encode(teacher.task.train, trimmed.tokenizer, max_tokens).input_ids
    changed = [row for row, (old, new) in enumerate(zip(before, after, strict=True)) if list(old) != list(new)]
    if changed:
        raise TrimfitError(
            f"{len(changed)} training texts are written with other tokens by the trimmed vocabulary, expected none "
            f"(the first is row {changed[0]}): use --vocabulary keep"
        )


def _facts(teacher: Teacher, tokenizer: Any, trimmed: Trimmed, start: Start) -> VocabularyFacts:
    around = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    metric, labels = teacher.task.metric, teacher.dev.labels
    before = teacher.dev.teacher_logits
    assert before is not None
    rows, table = teacher.model.get_input_embeddings().weight.shape
    return VocabularyFacts(
        tokens_before=rows,
        tokens=len(trimmed.kept),
        parameters_removed=(rows - len(trimmed.kept)) * table,
        dev_before=score(labels, before, metric),
        dev=score(labels, _answers(teacher, trimmed, start), metric),
        dev_changed=trimmed.gone(teacher.dev, around),
        test_changed=None if teacher.test is None else trimmed.gone(teacher.test, around),
    )


def _answers(teacher: Teacher, trimmed: Trimmed, start: Start) -> np.ndarray:
    """Logits [rows, classes] of the trimmed teacher on dev; only rows of other tokens can have changed."""
    assert teacher.dev.teacher_logits is not None
    logits = teacher.dev.teacher_logits.copy()
    known = trimmed.renumbered(teacher.dev).input_ids
    changed = [i for i, (old, new) in enumerate(zip(known, start.dev.input_ids, strict=True)) if list(old) != list(new)]
    if changed:
        logits[changed] = predict(start.model, start.dev.take(changed))
    return logits


def _reason_to_keep(teacher: Teacher, start: Start) -> str | None:
    """Why a vocabulary that nobody asked to trim is not trimmed; None where it is."""
    facts, parameters = start.facts, sum(p.numel() for p in teacher.model.parameters())
    assert facts is not None
    saving = facts.parameters_removed / parameters
    if saving < LEAST_SAVING:
        return f"{saving:.0%} of the parameters are tokens without use; --vocabulary trim removes them"
    before, labels = teacher.dev.teacher_logits, teacher.dev.labels
    assert before is not None
    if facts.dev < facts.dev_before and is_lost(labels, before, predict(start.model, start.dev), teacher.task.metric):
        return f"the teacher's dev score would fall from {facts.dev_before:.4f} to {facts.dev:.4f}"
    return None
