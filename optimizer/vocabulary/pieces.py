"""Pieces: which tokens of a vocabulary must stay where only some are used. Pure functions on vocabularies."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

__all__ = ["BLOCK", "matched_before_failing", "unigram_kept", "wordpiece_kept"]

BLOCK = 128  # neighbouring code points: about one script, or a part of a large one
_WORD_START = "\N{LOWER ONE EIGHTH BLOCK}"  # SentencePiece's mark
_BYTE = re.compile(r"<0x[0-9A-Fa-f]{2}>")


def wordpiece_kept(vocabulary: Mapping[str, int], used: Collection[int], prefix: str = "##") -> set[int]:
    """Ids of the used pieces, and of all that unseen words are spelled with: every character, first and inside a word.

    A longer piece goes only where each of its characters has such a piece, so that a word known to the whole vocabulary
    by its characters is known to this one. Words of used pieces are cut as before: longest-match-first (Song et al.
    2021, "Fast WordPiece Tokenization", section 2) takes the longest piece of the whole vocabulary, which is then also
    the longest of those that stay.

    Args:
        vocabulary: id by piece.
        used: ids that texts need.
        prefix: of pieces inside a word.
    """

    def spelled(piece: str) -> bool:
        inside = piece.startswith(prefix)
        first, rest = ("", piece[len(prefix) :]) if inside else (piece[:1], piece[1:])
        return (not first or first in vocabulary) and all(prefix + letter in vocabulary for letter in rest)

    needed = {i for piece, i in vocabulary.items() if len(piece.removeprefix(prefix)) <= 1 or not spelled(piece)}
    return needed | set(used)


def matched_before_failing(word: str, vocabulary: Mapping[str, int], prefix: str = "##") -> list[int]:
    """Ids that longest-match-first takes of a word until nothing matches; of a word that is known, all of it.

    Without the pieces before the failure a word that is unknown might become known, and a row change.
    """
    found, start = [], 0
    while start < len(word):
        head = prefix if start else ""
        ends = range(len(word), start, -1)
        end = next((end for end in ends if head + word[start:end] in vocabulary), None)
        if end is None:
            break
        found.append(vocabulary[head + word[start:end]])
        start = end
    return found


def unigram_kept(pieces: Sequence[tuple[str, float]], used: Collection[int]) -> set[int]:
    """Ids of the used pieces, and of what unseen words are spelled with: characters, alone and at a word's start.

    Those of every 128 code points of which one is used; the 256 bytes; and the piece of the least score. Texts of used
    pieces are cut as before: the best of all segmentations (Kudo 2018, "Subword Regularization", section 3.2) is the
    best of fewer that hold it, since scores stay; an unknown character costs a fixed sum more than the least score.

    Args:
        pieces: (piece, log probability) in the order of their ids.
        used: ids that texts need.
    """
    blocks = {0} | {ord(letter) // BLOCK for i in used for letter in pieces[i][0]}

    def spells(piece: str) -> bool:
        letters = piece.removeprefix(_WORD_START)
        return len(letters) <= 1 and all(ord(letter) // BLOCK in blocks for letter in letters)

    needed = {i for i, (piece, _) in enumerate(pieces) if spells(piece) or _BYTE.fullmatch(piece)}
    least = min(range(len(pieces)), key=lambda i: pieces[i][1])
    return needed | {least} | set(used)
