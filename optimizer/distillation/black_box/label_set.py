"""LabelSet: a task's classes, and the words by which the black box knows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.errors import TrimfitError

__all__ = ["LabelSet", "parse_labels"]

AROUND = " \t\r\n\"'`*.,:;!()[]{}<>"  # that models like to put around a word


@dataclass(frozen=True)
class LabelSet:
    """Class names in index order, and the word for each: the same, or a better one (`0=negative`)."""

    names: tuple[str, ...]
    words: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def index(self, said: object) -> int | None:
        """The class that was named: alone or in front of further words; None where it is none, or not only one.

        A word counts in any case, with or without quotes and punctuation around it.
        """
        text = plain(str(said))
        exact = {i for i, forms in enumerate(self._forms) if text in forms}
        if exact:
            return exact.pop() if len(exact) == 1 else None
        begun = {i: max((len(f) for f in forms if _leads(f, text)), default=0) for i, forms in enumerate(self._forms)}
        longest = max(begun.values())
        found = [i for i, length in begun.items() if length == longest]
        return found[0] if longest and len(found) == 1 else None

    def beginning_with(self, text: str) -> list[int]:
        """The classes that an answer which begins with `text` may still name."""
        text = plain(text)
        return [i for i, forms in enumerate(self._forms) if any(f.startswith(text) or _leads(f, text) for f in forms)]

    def in_order_of(self, names: Sequence[str]) -> LabelSet:
        """The same words for the classes `names`; a class without a word is called by its name."""
        known = dict(zip(self.names, self.words, strict=True))
        return LabelSet(tuple(names), tuple(known.get(name, name) for name in names))

    @property
    def _forms(self) -> list[set[str]]:
        return [{plain(name), plain(word)} for name, word in zip(self.names, self.words, strict=True)]


def parse_labels(entries: Sequence[str]) -> LabelSet | None:
    """The labels as a person names them, each `NAME` or `NAME=WORD`; None where there are none.

    Raises TrimfitError for fewer than two, for one that is empty or named twice.
    """
    pairs = [entry.strip().partition("=") for entry in entries]
    names = tuple(name.strip() for name, _, _ in pairs)
    words = tuple((word if equals else name).strip() for name, equals, word in pairs)
    if not names:
        return None
    for kind in (names, words):
        lowered = [plain(each) for each in kind]
        if len(kind) < 2 or not all(lowered) or len(set(lowered)) < len(kind):
            raise TrimfitError(
                f"got --labels {','.join(entries)}, expected two or more different ones: a,b or 0=negative,1=positive"
            )
    return LabelSet(names, words)


def plain(text: str) -> str:
    """A word without its case and what stands around it."""
    return text.strip(AROUND).casefold()


def _leads(word: str, text: str) -> bool:
    """Whether `text` is the word and then something that is not the rest of a longer word."""
    return bool(word) and text.startswith(word) and not text[len(word) :][:1].isalnum()
