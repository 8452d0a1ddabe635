"""HeldOut: rows that nothing was trained on, as the teacher and as the student read them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.errors import TrimfitError
from optimizer.encoding import Encoded, encode
from optimizer.table_files import PARTS, scored_file
from optimizer.tasks import Columns, Rows, Task, read_rows

__all__ = ["HeldOut", "held_out_sets", "read_also"]


@dataclass(frozen=True)
class HeldOut:
    """A set to score: its rows in the tokens of the teacher's vocabulary and of the student's, which may have fewer."""

    name: str
    rows: Rows
    teacher: Encoded
    student: Encoded


def read_also(
    paths: Sequence[Path], columns: Columns, labels: tuple[str, ...], say: Callable[[str], None] = lambda line: None
) -> dict[str, Rows]:
    """Further sets of the same columns and labels, by the name of their file, or of its folder where that says test.

    Raises TrimfitError for a set that is not there, has a label that the task lacks, or is called as another one.
    """
    found: dict[str, Rows] = {}
    for path in paths:
        file = scored_file(path)
        name = _name(file)
        if name in found:
            raise TrimfitError(f"got two --also-test sets called {name!r}, expected different names: rename one")
        found[name], dropped = read_rows(file, columns, labels)
        for reason, count in dropped.items():
            say(f"{count} rows of {name} dropped: {reason}")
    return found


def held_out_sets(
    task: Task,
    also: dict[str, Rows],
    teacher: dict[str, Encoded],
    student: dict[str, Encoded],
    tokenizers: tuple[Any, Any],
    max_tokens: int,
) -> tuple[HeldOut, ...]:
    """The scored part of the task (test, else dev) first, then the further sets.

    Args:
        task: in the model's label order.
        also: from `read_also`.
        teacher: the task's parts in the teacher's tokens.
        student: in the student's.
        tokenizers: the teacher's and the student's.
        max_tokens: at which texts are cut.
    """
    part, rows = ("dev", task.dev) if task.test is None else ("test", task.test)
    first = HeldOut(part, rows, teacher[part], student[part])
    more = (
        HeldOut(name, rows, *(encode(rows, each, max_tokens) for each in tokenizers)) for name, rows in also.items()
    )
    return (first, *more)


def _name(file: Path) -> str:
    stem = file.name.split(".")[0]
    return file.absolute().parent.name if stem.lower() in PARTS else stem
