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

__all__ = ["UNLABELLED", "Columns", "Rows", "Task", "Unlabelled", "check_sizes", "read_rows", "read_task"]

UNLABELLED = -1  # in the place of a label index
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
class Unlabelled:
    """That rows may lack a label, since a teacher will give them one.

    `labels` are the classes as the person named them, `otherwise` those where neither person nor data names any.
    """

    labels: tuple[str, ...] = ()
    otherwise: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rows:
    """Texts with label indices [n] into the task's labels and, if a group column was named, one group a row.

    The index of a row without a label is `UNLABELLED`.
    """

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

    @property
    def parts(self) -> dict[str, Rows]:
        """Train, dev and, where there is one, test, by name."""
        return {"train": self.train, "dev": self.dev} | ({} if self.test is None else {"test": self.test})

    @property
    def also_in_train(self) -> dict[str, int]:
        """How many texts of dev and test are in train as well, but for case and spaces at the ends; where some are.

        Splits that the person made stay as they are.
        """
        known = {text.strip().casefold() for text in self.train.texts}
        found = {
            part: sum(text.strip().casefold() in known for text in rows.texts)
            for part, rows in self.parts.items()
            if part != "train"
        }
        return {part: count for part, count in found.items() if count}

    def relabelled(self, labels: tuple[str, ...]) -> Task:
        """The same task with its labels in the order of `labels` (the teacher's own order)."""
        position = np.array([labels.index(name) for name in self.labels])

        def remap(rows: Rows) -> Rows:
            return replace(rows, labels=np.where(rows.labels < 0, UNLABELLED, position[rows.labels]))

        test = None if self.test is None else remap(self.test)
        return replace(self, labels=labels, train=remap(self.train), dev=remap(self.dev), test=test)


def read_task(
    path: Path, columns: Columns, *, metric: str = "accuracy", seed: int = 0, unlabelled: Unlabelled | None = None
) -> Task:
    """Read csv, tsv, json lines (also .gz) or parquet: one file, or a folder with train/dev/test files.

    A missing dev part is split off train, stratified by label with `seed`; one file gives dev and test.
    Rows with an empty text or label are dropped and counted. With `unlabelled` training rows need no label; dev and
    test have one in every row that stays, or in none, and where only some rows have one, dev and test are split off
    these.

    Raises:
        TrimfitError: no such file or column, fewer than two classes, a class missing from train, too few rows.
    """
    dropped: Counter[str] = Counter()
    parts = {
        part: _columns_of(file, columns, dropped, need_label=unlabelled is None)
        for part, file in data_files(path).items()
    }
    if "test" in parts and not parts["test"][0]:
        del parts["test"]  # shared tasks publish theirs without labels
    raw = {
        part: ([_label_name(value) for value in labels], texts, groups)
        for part, (texts, labels, groups) in parts.items()
    }
    labelled = {part: [name for name in labels if name] for part, (labels, _, _) in raw.items()}
    if unlabelled is None:
        names = _label_names(labelled, path, columns)
    else:
        names = _names_besides(labelled, path, columns, unlabelled)
    index = {name: i for i, name in enumerate(names)} | {"": UNLABELLED}
    rows = {
        part: Rows(tuple(texts), np.array([index[name] for name in labels], dtype=int), groups)
        for part, (labels, texts, groups) in raw.items()
    }
    train, dev, test = _split(_whole_parts(rows, dropped), seed, dropped)
    check_sizes(train, dev, path)
    if unlabelled is None:
        _check_classes(train, names, path)
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
    file: Path, columns: Columns, dropped: Counter[str], *, need_group: bool = True, need_label: bool = True
) -> tuple[list[str], list[object], tuple[str, ...] | None]:
    wanted = [columns.text, columns.label] + ([columns.group] if columns.group else [])
    table = read_table(file, as_text=wanted)
    if not need_label and columns.text in table and columns.label == Columns.label:  # not one that was named
        table.setdefault(columns.label, [None] * len(table[columns.text]))
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
        elif need_label and not _label_name(label):
            dropped["empty label"] += 1
        else:
            texts.append(str(text))
            labels.append(label)
            if columns.group:
                groups.append(str(table[columns.group][row]))
    return texts, labels, tuple(groups) if columns.group else None


def _label_name(value: object) -> str:
    """The class's name, empty where there is none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
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


def _names_besides(labels: dict[str, list[str]], path: Path, columns: Columns, named: Unlabelled) -> tuple[str, ...]:
    """The classes where some rows, or all, have no label."""
    seen = [name for part in labels.values() for name in part]
    if named.labels:
        strange = sorted(set(seen) - set(named.labels))
        if strange:
            raise TrimfitError(
                f"column {columns.label!r} of {path} has the label {strange[0]!r}, expected one of --labels "
                f"{','.join(named.labels)}: name it too, with the teacher's word for it as {strange[0]}=WORD"
            )
        return named.labels
    if not seen and not named.otherwise:
        raise TrimfitError(f"{path} has no labels in column {columns.label!r}: name the classes with --labels a,b")
    return _label_names({"train": seen}, path, columns) if seen else named.otherwise


def _whole_parts(rows: dict[str, Rows], dropped: Counter[str]) -> dict[str, Rows]:
    """Dev and test with a label in every row or in none; a test part without labels goes where dev has some."""
    whole = dict(rows)
    for part in rows.keys() & {"dev", "test"}:
        has = rows[part].labels >= 0
        if has.any() and not has.all():
            dropped[f"{part} text without a label"] += int((~has).sum())
            whole[part] = rows[part].take(np.flatnonzero(has))
    labelled = {part for part, some in whole.items() if (some.labels >= 0).any()}
    if "dev" in labelled and "test" not in labelled:
        whole.pop("test", None)
    return whole


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
    """The rest and a share of the rows; where only some have a label the share is of these, at most half of them."""
    among, labelled = np.arange(len(rows)), np.flatnonzero(rows.labels >= 0)
    if 0 < len(labelled) < len(rows):
        among, share = labelled, min(0.5, share * len(rows) / len(labelled))
    if len(among) < 2:
        return rows, rows.take([])
    labels = rows.labels[among]
    counts = np.bincount(np.maximum(labels, 0))
    stratify = labels if counts[counts > 0].min() >= 2 and len(among) * share >= len(counts) else None
    _, held = train_test_split(among, test_size=share, random_state=seed, stratify=stratify)
    rest = np.setdiff1d(np.arange(len(rows)), held)
    return rows.take(rest), rows.take(np.sort(held))


def check_sizes(train: Rows, dev: Rows, path: Path) -> None:
    """Raise TrimfitError where there are too few rows to train on or to score on."""
    if len(train) < MIN_TRAIN_ROWS or len(dev) < MIN_DEV_ROWS:
        raise TrimfitError(
            f"{path} gives {len(train)} rows to train on and {len(dev)} to score on, expected at least "
            f"{MIN_TRAIN_ROWS} and {MIN_DEV_ROWS}: add rows"
        )


def _check_classes(train: Rows, names: tuple[str, ...], path: Path) -> None:
    absent = [name for i, name in enumerate(names) if not (train.labels == i).any()]
    if absent:
        raise TrimfitError(f"class {absent[0]!r} has no row left in train after splitting {path}: add rows of it")
