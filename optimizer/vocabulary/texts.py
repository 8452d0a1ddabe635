"""Texts that a person names because their words must stay: plain lines, or the text column of a data file."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

from benchmarks.errors import TrimfitError
from optimizer.table_files import is_table, read_table

__all__ = ["read_texts"]


def read_texts(path: Path, column: str, option: str = "--keep-vocabulary") -> Iterator[str]:
    """The texts of a file: the `column` of csv, tsv, json lines or parquet; of any other file its lines (also .gz).

    `option` is what names such files on the command line.
    Raises TrimfitError when there is no such file or column, or it is not UTF-8 text.
    """
    if not path.is_file():
        raise TrimfitError(f"no such file: {path}: give {option} a text or data file")
    if is_table(path):
        table = read_table(path, as_text=[column])
        if column not in table:
            raise TrimfitError(
                f"{path} has no column {column!r}, its columns are {', '.join(table)}: name it with --text"
            )
        yield from (str(text) for text in table[column] if text is not None)
        return
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
            yield from (line for line in lines if line.strip())
    except (UnicodeDecodeError, gzip.BadGzipFile, EOFError) as error:
        raise TrimfitError(f"{path} is not UTF-8 text ({error}): convert it, or name a data file") from error
