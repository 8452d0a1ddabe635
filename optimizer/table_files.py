"""Data files on disk: csv, tsv, json lines and parquet, plain or gzipped, as columns of Python values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from benchmarks.errors import TrimfitError

__all__ = ["data_files", "is_table", "read_table", "scored_file"]

SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".ndjson", ".parquet")
PARTS = {
    "train": "train",
    "training": "train",
    "dev": "dev",
    "val": "dev",
    "valid": "dev",
    "validation": "dev",
    "eval": "dev",
    "test": "test",
    "testing": "test",
}
BLOCK_BYTES = 64 << 20  # one row must fit into a block


def data_files(path: Path) -> dict[str, Path]:
    """The files of a data set: `{"all": path}` for one file, else the folder's train (and dev, test) files."""
    if path.is_file():
        _kind(path)
        return {"all": path}
    if not path.is_dir():
        raise TrimfitError(
            f"no such file or folder: {path}: give --data a csv, tsv, jsonl or parquet file, or a folder of them"
        )
    found = _parts(path)
    if "train" not in found:
        raise TrimfitError(
            f"{path} has no train file, expected train{'|'.join(SUFFIXES)} (also .gz): add one, or give --data one file"
        )
    return found


def scored_file(path: Path) -> Path:
    """The file of a set that is only scored: `path` itself, or the test file in the folder `path`."""
    if path.is_file():
        _kind(path)
        return path
    found = _parts(path) if path.is_dir() else {}
    if "test" not in found:
        what = "has no test file" if path.is_dir() else "is no file or folder"
        raise TrimfitError(f"{path} {what}: give --also-test a data file, or a folder with a test file")
    return found["test"]


def is_table(path: Path) -> bool:
    """Whether the name is that of a file which `read_table` reads."""
    return path.name.lower().removesuffix(".gz").endswith(SUFFIXES)


def _parts(path: Path) -> dict[str, Path]:
    """The train, dev and test files of a folder."""
    found: dict[str, Path] = {}
    for file in sorted(path.iterdir()):
        part = PARTS.get(re.split(r"[.\-_]", file.name.lower())[0])
        if part is None or not is_table(file):
            continue
        if part in found:
            raise TrimfitError(f"{path} has two {part} files, {found[part].name} and {file.name}: keep one")
        found[part] = file
    return found


def read_table(path: Path, as_text: Sequence[str] = ()) -> dict[str, list[Any]]:
    """The columns of one file as lists of Python values, in file order.

    Args:
        path: the file.
        as_text: columns that csv and tsv give as they are written; what is in the others is guessed.

    Raises:
        TrimfitError: the file is broken or its ending is unknown.
    """
    kind = _kind(path)
    try:
        table = _READERS[kind](path, as_text)
        columns = {name: table.column(name).to_pylist() for name in table.column_names}
    except (pa.ArrowException, OSError, EOFError, UnicodeDecodeError, KeyError) as error:
        raise TrimfitError(
            f"{path} is not a readable {kind[1:]} file ({_first_line(error)}): mend or convert it"
        ) from error
    if table.num_rows == 0:
        raise TrimfitError(f"{path} has no rows: expected one example a row")
    return columns


def _kind(path: Path) -> str:
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix
    if suffix not in SUFFIXES:
        raise TrimfitError(
            f"{path} ends in {suffix or 'nothing'}, expected {', '.join(SUFFIXES)} (also .gz): convert it"
        )
    return suffix


def _read_csv(path: Path, as_text: Sequence[str], delimiter: str = ",", quote: str | bool = '"') -> pa.Table:
    parse = pa.csv.ParseOptions(delimiter=delimiter, quote_char=quote, newlines_in_values=quote is not False)
    with pa.input_stream(str(path), compression="detect") as stream:
        return pa.csv.read_csv(
            stream,
            read_options=pa.csv.ReadOptions(block_size=BLOCK_BYTES),
            parse_options=parse,
            convert_options=pa.csv.ConvertOptions(column_types=dict.fromkeys(as_text, pa.string())),
        )


def _read_tsv(path: Path, as_text: Sequence[str]) -> pa.Table:
    # Corpora such as GLUE hold unbalanced quotes, which a quoting reader would swallow rows over;
    # a file that only parses with quoting falls back to it.
    try:
        table = _read_csv(path, as_text, "\t", quote=False)
    except pa.ArrowInvalid:
        return _read_csv(path, as_text, "\t")
    return pa.table(
        {_unquote(name): [_unquote(v) for v in table.column(name).to_pylist()] for name in table.column_names}
    )


def _unquote(value: Any) -> Any:
    if isinstance(value, str) and len(value) >= 2 and value[0] == value[-1] == '"':
        return value[1:-1].replace('""', '"')
    return value


def _read_json(path: Path, as_text: Sequence[str]) -> pa.Table:
    with pa.input_stream(str(path), compression="detect") as stream:
        return pa.json.read_json(stream, read_options=pa.json.ReadOptions(block_size=BLOCK_BYTES))


def _read_parquet(path: Path, as_text: Sequence[str]) -> pa.Table:
    return pa.parquet.ParquetFile(path).read()


_READERS = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_json,
    ".ndjson": _read_json,
    ".json": _read_json,
    ".parquet": _read_parquet,
}


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:160]
