"""Data sets of the study: their folders as the main job reads them, and how they are scored."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.errors import TrimfitError

__all__ = ["DATA_SETS", "DataSet", "lay_out"]

Row = dict[str, Any]
PARTS = ("train", "dev", "test")
AFRISENTI = ("amh", "hau", "ibo", "pcm", "swa", "yor")
MASAKHANEWS = ("ibo", "pcm", "sna", "som", "xho", "yor")  # of those whose whole train part is there
LONGEST_TEXT = 300  # characters of an article: its headline and first sentences


@dataclass(frozen=True)
class DataSet:
    """What is read of a published set.

    `also` are further sets that students are scored on: by name, which rows of which file.
    """

    folder: str
    wanted: Callable[[Row], bool] = lambda row: True
    options: tuple[str, ...] = ()  # of `trimfit optimize`
    targets: tuple[float, ...] = (5.0,)
    longest: int | None = None  # characters
    also: tuple[tuple[str, str, Callable[[Row], bool]], ...] = ()


def _of_domain(name: str) -> Callable[[Row], bool]:
    return lambda row: row["domain"] == name


DOMAINS = ("cr", "mpqa", "uci_amazon", "uci_imdb", "uci_yelp", "yelp1k")  # "mr" is what SST-2 was made of

DATA_SETS: dict[str, DataSet] = {
    "sst2": DataSet(
        "sst2",
        targets=(5.0, 8.0, 15.0, 25.0),
        also=tuple((name, "xdomain_sentiment", _of_domain(name)) for name in DOMAINS),
    ),
    "afrisenti": DataSet(
        "afrisenti",
        wanted=lambda row: row["lang"] in AFRISENTI,
        options=("--group", "lang", "--metric", "weighted_f1"),
        also=(
            ("not-in-train", "afrisenti", lambda row: row["lang"] in AFRISENTI and not row.get("dup_in_train")),
        ),
    ),
    "masakhanews": DataSet(
        "masakhanews",
        wanted=lambda row: row["lang"] in MASAKHANEWS,
        options=("--group", "lang", "--metric", "weighted_f1"),
        longest=LONGEST_TEXT,
    ),
}  # fmt: skip


def lay_out(name: str, source: Path, target: Path) -> tuple[Path, list[Path]]:
    """The set's own folder and its further test files under `target`, written there where they are not yet.

    Raises TrimfitError where `source` lacks a file.
    """
    data = DATA_SETS[name]
    for part in PARTS:
        _copy(source / data.folder / f"{part}.jsonl.gz", target / "data" / f"{part}.jsonl", data.wanted, data.longest)
    for also, folder, wanted in data.also:
        _copy(source / folder / "test.jsonl.gz", target / "also" / f"{also}.jsonl", wanted, data.longest)
    return target / "data", [target / "also" / f"{also}.jsonl" for also, _, _ in data.also]


def _copy(source: Path, target: Path, wanted: Callable[[Row], bool], longest: int | None) -> None:
    if target.is_file():
        return
    if not source.is_file():
        raise TrimfitError(f"got no {source}, expected the published set: name its folder with --source")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(".part")
    with gzip.open(source, "rt", encoding="utf-8") as lines, part.open("w", encoding="utf-8") as copy:
        copy.writelines(_chosen(lines, wanted, longest))
    part.rename(target)


def _chosen(lines: Iterable[str], wanted: Callable[[Row], bool], longest: int | None) -> Iterable[str]:
    for line in lines:
        row = json.loads(line)
        if wanted(row):
            yield json.dumps(row | {"text": row["text"][:longest]}, ensure_ascii=False) + "\n"
