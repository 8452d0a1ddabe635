"""Trimming: a tokenizer with only the tokens that texts use, and the rows that it writes as before."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from optimizer.encoding import Encoded
from optimizer.quiet import quiet
from optimizer.teacher import load_tokenizer
from optimizer.vocabulary.pieces import matched_before_failing
from optimizer.vocabulary.tokenizer_file import check_kind, ids_by_token, kept_with, with_fewer

__all__ = ["Trimmed", "check_tokenizer", "trim"]

_CHUNK = 2000  # texts that are tokenised at once
_KEPT, _CONFIG = "kept.json", "tokenizer_config.json"


@dataclass(frozen=True)
class Trimmed:
    """A tokenizer of fewer tokens; `kept` is the old id of each of them."""

    tokenizer: Any
    kept: tuple[int, ...]

    @classmethod
    def load(cls, folder: Path) -> Trimmed:
        """Read what `trim` wrote."""
        kept = json.loads((folder / _KEPT).read_text(encoding="utf-8"))
        return cls(load_tokenizer(folder), tuple(kept))

    @cached_property
    def new_ids(self) -> np.ndarray:
        """New id by old id; -1 for a token that is gone."""
        new = np.full(max(self.kept) + 1, -1)
        new[list(self.kept)] = np.arange(len(self.kept))
        return new

    def renumbered(self, encoded: Encoded) -> Encoded:
        """The same rows in the new ids; -1 stands where a token is gone."""
        return replace(
            encoded,
            input_ids=tuple(self._renumbered(row) for row in encoded.input_ids),
            pad_token_id=int(self.new_ids[encoded.pad_token_id]),
        )

    def gone(self, encoded: Encoded, around: Collection[int] = ()) -> float:
        """Share of the tokens of rows in old ids that are gone; those `around` texts, such as [CLS], not counted."""
        old = np.concatenate([np.asarray(row) for row in encoded.input_ids])
        new = np.concatenate([np.asarray(row) for row in self.renumbered(encoded).input_ids])
        counted = ~np.isin(old, list(around))
        return float((new[counted] < 0).mean()) if counted.any() else 0.0

    def _renumbered(self, row: list[int]) -> list[int]:
        ids = np.asarray(row)
        return np.where(ids < len(self.new_ids), self.new_ids[np.minimum(ids, len(self.new_ids) - 1)], -1).tolist()


def check_tokenizer(tokenizer: Any) -> None:
    """Raise TrimfitError for a tokenizer whose tokens cannot be removed yet."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    check_kind("slow" if backend is None else type(backend.model).__name__)


def trim(tokenizer: Any, texts: Iterable[str], folder: Path, pinned: Collection[int] = ()) -> Trimmed:
    """Write a tokenizer without the tokens that `texts` never use to `folder`, and load it from there.

    These texts keep their tokens; others are written with what is left, at worst character by character.

    Args:
        tokenizer: fast, WordPiece or Unigram.
        texts: all that must be written as before, whole.
        folder: to write; appears whole or not at all.
        pinned: ids that stay in any case.

    Raises TrimfitError for a tokenizer of another kind.
    """
    check_tokenizer(tokenizer)
    spec = json.loads(tokenizer.backend_tokenizer.to_str())
    used = {*pinned, *_used(tokenizer, spec, texts)}
    fewer, kept = with_fewer(spec, kept_with(spec, used))
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    with quiet():
        tokenizer.save_pretrained(part, legacy_format=False)  # without the files of the slow tokenizer, which are whole
    (part / "tokenizer.json").write_text(json.dumps(fewer, ensure_ascii=False), encoding="utf-8")
    _renumber_config(part / _CONFIG, kept)
    (part / _KEPT).write_text(json.dumps(kept), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)
    return Trimmed.load(folder)


def _used(tokenizer: Any, spec: dict[str, Any], texts: Iterable[str]) -> set[int]:
    used: set[int] = set()
    unknown_words: set[str] = set()
    for some in _chunks(texts):
        rows = tokenizer(some, truncation=False, verbose=False)["input_ids"]
        used.update(*rows)
        unknown = [text for text, row in zip(some, rows, strict=True) if tokenizer.unk_token_id in row]
        unknown_words |= _words(tokenizer.backend_tokenizer, unknown)
    model = spec["model"]
    if model["type"] == "WordPiece":
        vocabulary = ids_by_token(spec)
        for word in unknown_words:
            if len(word) <= model["max_input_chars_per_word"]:  # longer ones are unknown in any case
                used.update(matched_before_failing(word, vocabulary, model["continuing_subword_prefix"]))
    return used


def _chunks(texts: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(texts)
    while some := list(islice(rest, _CHUNK)):
        yield some


def _words(backend: Any, texts: Sequence[str]) -> set[str]:
    """The words that a WordPiece model is given of these texts."""
    found = set()
    for text in texts:
        normalised = backend.normalizer.normalize_str(text) if backend.normalizer else text
        split = backend.pre_tokenizer.pre_tokenize_str(normalised) if backend.pre_tokenizer else [(normalised, None)]
        found |= {word for word, _ in split}
    return found


def _renumber_config(path: Path, kept: Sequence[int]) -> None:
    fields = json.loads(path.read_text(encoding="utf-8"))
    new = {old: i for i, old in enumerate(kept)}
    added = fields.get("added_tokens_decoder", {})
    fields["added_tokens_decoder"] = {str(new[int(old)]): token for old, token in added.items()}
    path.write_text(json.dumps(fields, indent=2, ensure_ascii=False), encoding="utf-8")
