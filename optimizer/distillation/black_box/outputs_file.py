"""OutputsFile: a black box's answers that lie in files, found by text or by row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.errors import TrimfitError
from optimizer.distillation.black_box.label_set import LabelSet
from optimizer.distillation.black_box.said import LABEL_KEYS, OUTSIDE, Said, said_in
from optimizer.table_files import data_files, read_table
from optimizer.tasks import Columns

__all__ = ["ABSENT", "OutputsFile", "labels_in", "outputs_by_text"]

ABSENT = "no answer in the teacher's file"


def outputs_by_text(path: Path, data: Path, columns: Columns) -> dict[str, dict[str, Any]]:
    """The rows of the teacher's files by the text they are about, as {column: value}; of one text the last row.

    Args:
        path: csv, tsv, json lines or parquet file, or a folder of train (dev, test) files.
        data: the data. Where a file of the teacher has no text column, its rows are those of the data's file of that
            part, in the same order.
        columns: of the data.

    Raises TrimfitError for files that cannot be read or do not go with the data.
    """
    if not path.exists():
        raise TrimfitError(f"no such file: {path}: give --teacher an address (https://...) or a file of its answers")
    found: dict[str, dict[str, Any]] = {}
    parts = data_files(path)
    for part, file in parts.items():
        table = read_table(file, as_text=[columns.text, columns.label])
        texts = table.pop(columns.text, None) or _texts_of(data, part, file, len(next(iter(table.values()))), columns)
        if not table:
            raise TrimfitError(f"{file} has no column beside the texts, expected labels or probabilities: add them")
        if columns.label not in LABEL_KEYS and columns.label in table:
            table[LABEL_KEYS[0]] = table.pop(columns.label)
        rows = (dict(zip(table, values, strict=True)) for values in zip(*table.values(), strict=True))
        found.update((str(text), row) for text, row in zip(texts, rows, strict=True))
    return found


def labels_in(outputs: dict[str, dict[str, Any]]) -> tuple[str, ...]:
    """The labels that the files give, sorted; none where they hold only probabilities."""
    named = (next((row[key] for key in LABEL_KEYS if row.get(key) is not None), None) for row in outputs.values())
    return tuple(sorted({str(label).strip() for label in named if isinstance(label, str | int)}))


class OutputsFile:
    """A teacher of which nothing is left but its answers.

    Args:
        path: to be shown.
        outputs: from `outputs_by_text`.
        labels: the classes and the words for them.
    """

    def __init__(self, path: Path, outputs: dict[str, dict[str, Any]], labels: LabelSet) -> None:
        self.name, self.labels = path.name, labels
        self._outputs = outputs

    def check(self, texts: Sequence[str]) -> None:
        """See that it knows some of these texts. Raises TrimfitError."""
        if not any(text in self._outputs for text in texts):
            raise TrimfitError(
                f"{self.name} has an answer to none of the {len(set(texts))} texts, expected the same texts as in "
                "--data: check its text column, or leave it out where the rows are the data's"
            )

    def ask(self, texts: Sequence[str], advance: Callable[[float], None] = lambda share: None) -> list[Said | str]:
        """What it says of each text, or why there is nothing."""
        return [self._said(text) for text in texts]

    def _said(self, text: str) -> Said | str:
        row = self._outputs.get(text)
        return ABSENT if row is None else said_in(row, self.labels) or OUTSIDE


def _texts_of(data: Path, part: str, file: Path, count: int, columns: Columns) -> list[Any]:
    parts = data_files(data)
    if part not in parts:
        raise TrimfitError(
            f"{file} has no column {columns.text!r} and {data} no {part} file whose rows it could be: add the texts"
        )
    texts = read_table(parts[part], as_text=[columns.text]).get(columns.text, [])
    if len(texts) != count:
        raise TrimfitError(
            f"{file} has no column {columns.text!r} and {count} rows, {parts[part]} has {len(texts)}: "
            "expected one answer a row, or the texts beside the answers"
        )
    return texts
