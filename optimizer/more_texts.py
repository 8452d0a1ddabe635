"""More texts: unlabelled ones that a person names, read and freed of copies and of what is held out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.errors import TrimfitError
from optimizer.distillation.duplicates import fingerprint, fresh
from optimizer.tasks import Rows, Task
from optimizer.training_rows import NO_MORE, MoreTexts
from optimizer.vocabulary.texts import read_texts

__all__ = ["read_more"]


def read_more(paths: Sequence[Path], column: str, copies: int, task: Task, also: Iterable[Rows]) -> MoreTexts:
    """Read unlabelled texts: lines of text files, or the `column` of data files.

    Copies of training rows or of each other are left out, and what occurs in dev, test or a set of `also` is never
    used: texts are the same where they differ only in case, punctuation, spaces or the encoding of letters.

    Raises TrimfitError for a file that is not there or cannot be read, and for fewer than 0 copies.
    """
    if copies < 0:
        raise TrimfitError(f"got --augment {copies}, expected a number of copies of at least 0")
    if not paths and not copies:
        return NO_MORE
    scored = [task.dev, *([] if task.test is None else [task.test]), *also]
    held_out = frozenset(fingerprint(text) for rows in scored for text in rows.texts)
    known = {fingerprint(text) for text in task.train.texts} if paths else set()
    texts = (text.strip() for path in paths for text in read_texts(path, column, "--unlabelled"))
    new, dropped = fresh((text for text in texts if text), known, held_out)
    return MoreTexts(tuple(new), copies, held_out, dict(dropped))
