"""Task: the person's data and labels, read, checked and split."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from sklearn.model_selection import train_test_split

from benchmarks.errors import TrimfitError
from optimizer.table_files import data_files, read_table

__all__ = ["Columns", "Rows", "Task", "read_rows", "read_task"]

MIN_TRAIN_ROWS = 50
MIN_DEV_ROWS = 20
DEV_SHARE = 0.1  # of a single file, or of train where no dev file is given


@dataclass(frozen=True)
class Columns:
    """Names of the columns that hold the text, the class label and, if wanted, the group (language, domain)."""

    text: str = "text"
    label: str = "label"
    group: str | None = None


@dataclass(frozen=True)
class Rows:
    """Texts with label indices [n] into the task's labels and, if a group column was named, one group a row."""

    texts: tuple[str, ...]
    labels: np.ndarray
    groups: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: Sequence[int] | np.ndarray) -> Rows:
        """The rows at `indices`, in that order."""
        groups = None if self.groups is None else tuple(self.groups[i] for i in indices)
        return Rows(tuple(self.texts[i] for i in indices), self.labels[np.asarray(indices, dtype=int)], groups)


@dataclass(frozen=True)
class Task:
    """A classification task. `labels` are the class names in index order; `dropped` counts rows left out, by reason."""

    labels: tuple[str, ...]
    train: Rows
    dev: Rows
    test: Rows | None
    metric: str = "accuracy"
    dropped: dict[str, int] = field(default_factory=dict)

    def relabelled(self, labels: tuple[str, ...]) -> Task:
        """The same task with its labels in the order of `labels` (the teacher's own order)."""
        position = np.array([labels.index(name) for name in self.labels])

        def remap(rows: Rows) -> Rows:
            return replace(rows, labels=position[rows.labels])

        test = None if self.test is None else remap(self.test)
        return replace(self, labels=labels, train=remap(self.train), dev=remap(self.dev), test=test)


def read_task(path: Path, columns: Columns, *, metric: str = "accuracy", seed: int = 0) -> Task:
    """Read csv, tsv, json lines (also .gz) or parquet: one file, or a folder with train/dev/test files.

    A missing dev part is split off train, stratified by label with `seed`; one file gives dev and test.
    Rows with an empty text or label are dropped and counted.

    Raises:
        TrimfitError: no such file or column, fewer than two classes, a class missing from train, too few rows.
    """
    dropped: Counter[str] = Counter()
    parts = {part: _columns_of(file, columns, dropped) for part, file in data_files(path).items()}
    if "test" in parts and not parts["test"][0]:
        del parts["test"]  # shared tasks publish theirs without labels
    raw = {
        part: ([_label_name(value) for value in labels], texts, groups)
        for part, (texts, labels, groups) in parts.items()
    }
    names = _label_names({part: labels for part, (labels, _, _) in raw.items()}, path, columns)
    index = {name: i for i, name in enumerate(names)}
    rows = {
        part: Rows(tuple(texts), np.array([index[name] for name in labels], dtype=int), groups)
        for part, (labels, texts, groups) in raw.items()
    }
    train, dev, test = _split(rows, seed, dropped)
    _check_sizes(train, dev, names, path)
    return Task(names, train, dev, test, metric, dict(dropped))


def read_rows(file: Path, columns: Columns, labels: tuple[str, ...]) -> tuple[Rows, dict[str, int]]:
    """The rows of one more file with the labels of a task, and how many were dropped by reason.

    Groups are read where the file has that column.
    Raises TrimfitError when it lacks the text or label column, has no row, or a label that is none of `labels`.
    """
    dropped: Counter[str] = Counter()
    texts, values, groups = _columns_of(file, columns, dropped, need_group=False)
    names = [_label_name(value) for value in values]
    strange = sorted(set(names) - set(labels))
    if strange:
        raise TrimfitError(
            f"{file} has the label {strange[0]!r}, expected one of {', '.join(labels)}: relabel or remove its rows"
        )
    if not texts:
        raise TrimfitError(f"{file} has no row with a text and a label, expected some to score: check the columns")
    index = {name: i for i, name in enumerate(labels)}
    return Rows(tuple(texts), np.array([index[name] for name in names]), groups), dict(dropped)


def _columns_of(
    file: Path, columns: Columns, dropped: Counter[str], *, need_group: bool = True
) -> tuple[list[str], list[object], tuple[str, ...] | None]:
    wanted = [columns.text, columns.label] + ([columns.group] if columns.group else [])
    table = read_table(file, as_text=wanted)
    if columns.group not in table and not need_group:
        columns, wanted = replace(columns, group=None), wanted[:2]
    for name in wanted:
        if name not in table:
            raise TrimfitError(
                f"{file} has no column {name!r}, its columns are {', '.join(table)}: "
                "name yours with --text, --label and --group"
            )
    texts, labels, groups = [], [], []
    for row in range(len(table[columns.text])):
        text, label = table[columns.text][row], table[columns.label][row]
        if text is None or not str(text).strip():
            dropped["empty text"] += 1
        elif label is None or not str(label).strip() or (isinstance(label, float) and math.isnan(label)):
            dropped["empty label"] += 1
        else:
            texts.append(str(text))
            labels.append(label)
            if columns.group:
                groups.append(str(table[columns.group][row]))
    return texts, labels, tuple(groups) if columns.group else None


def _label_name(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # a column of whole numbers with gaps is read as floats
    return str(value).strip()


def _label_names(labels: dict[str, list[str]], path: Path, columns: Columns) -> tuple[str, ...]:
    seen = {name for part in labels.values() for name in part}
    if len(seen) < 2:
        raise TrimfitError(
            f"column {columns.label!r} of {path} holds {len(seen)} class ({', '.join(sorted(seen)) or 'none'}), "
            "expected at least two: check --label"
        )
    source = labels.get("train", next(iter(labels.values())))
    for part, names in labels.items():
        missing = sorted(set(names) - set(source))
        if missing:
            raise TrimfitError(
                f"class {missing[0]!r} is in the {part} part of {path} but not in train: "
                "add training rows of it, or remove those rows"
            )
    if len(seen) > max(50, len(source) // 4):
        raise TrimfitError(
            f"column {columns.label!r} of {path} has {len(seen)} different values in {len(source)} rows, "
            "expected classes: check --label (regression is not supported)"
        )
    try:
        return tuple(sorted(seen, key=float))
    except ValueError:
        return tuple(sorted(seen))


def _split(rows: dict[str, Rows], seed: int, dropped: Counter[str]) -> tuple[Rows, Rows, Rows | None]:
    if "all" in rows:
        rest, test = _hold_out(rows["all"], DEV_SHARE, seed)
        train, dev = _hold_out(rest, DEV_SHARE / (1 - DEV_SHARE), seed + 1)
        return _without_copies(train, (*dev.texts, *test.texts), dropped), dev, test
    if "dev" in rows:
        return rows["train"], rows["dev"], rows.get("test")
    train, dev = _hold_out(rows["train"], DEV_SHARE, seed)
    return _without_copies(train, dev.texts, dropped), dev, rows.get("test")


def _without_copies(train: Rows, held_out: Sequence[str], dropped: Counter[str]) -> Rows:
    """Leave out training rows whose text was held out: a split made here must not leak."""
    held = set(held_out)
    fresh = [row for row, text in enumerate(train.texts) if text not in held]
    if len(fresh) < len(train):
        dropped["training text that is also held out"] += len(train) - len(fresh)
    return train.take(fresh)


def _hold_out(rows: Rows, share: float, seed: int) -> tuple[Rows, Rows]:
    counts = np.bincount(rows.labels)
    stratify = rows.labels if counts[counts > 0].min() >= 2 and len(rows) * share >= len(counts) else None
    rest, held = train_test_split(np.arange(len(rows)), test_size=share, random_state=seed, stratify=stratify)
    return rows.take(np.sort(rest)), rows.take(np.sort(held))


def _check_sizes(train: Rows, dev: Rows, names: tuple[str, ...], path: Path) -> None:
    if len(train) < MIN_TRAIN_ROWS or len(dev) < MIN_DEV_ROWS:
        raise TrimfitError(
            f"{path} gives {len(train)} rows to train on and {len(dev)} to score on, expected at least "
            f"{MIN_TRAIN_ROWS} and {MIN_DEV_ROWS}: add rows"
        )
    absent = [name for i, name in enumerate(names) if not (train.labels == i).any()]
    if absent:
        raise TrimfitError(f"class {absent[0]!r} has no row left in train after splitting {path}: add rows of it")
