"""Augmentation: texts with some words replaced by ones that the teacher's token embeddings place near them.

Jiao et al. 2020, "TinyBERT", section 3.2 and the algorithm of its appendix: N_a copies of each text, in each of which a
word is replaced with probability p_t by one of K candidates. There a masked language model and GloVe give these; here
the words of the training texts do, by cosine between the means of their pieces' embeddings, so that nothing is
downloaded and no language is assumed. What a text means may change: the teacher labels it anew.

Words are what white space separates, in any script; one of a text without spaces recurs nowhere and is left alone.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Neighbours", "augmented", "centred_means", "nearest", "neighbours_of", "replaced", "word_spans"]

P_T = 0.4  # TinyBERT's threshold
K = 15  # and number of candidates
LEAST_TEXTS = 2  # that a word is in: one that never recurs is misspelled, or a whole sentence
MOST_WORDS = 20_000  # the most frequent ones
_RUN = re.compile(r"\S+")
_ROWS = 512  # words that are compared with all others at once


@dataclass(frozen=True)
class Neighbours:
    """The candidates for each word; words are found whatever their case and written as they mostly are."""

    candidates: dict[str, tuple[str, ...]]

    def of(self, word: str) -> tuple[str, ...]:
        """What may stand in its place; () where nothing may."""
        return self.candidates.get(word.casefold(), ())


def word_spans(text: str) -> list[tuple[int, int]]:
    """(start, end) of each word: a run without white space, less the punctuation and symbols at its ends."""
    found = []
    for run in _RUN.finditer(text):
        start, end = run.span()
        while start < end and _is_edge(text[start]):
            start += 1
        while start < end and _is_edge(text[end - 1]):
            end -= 1
        if start < end:
            found.append((start, end))
    return found


def neighbours_of(texts: Sequence[str], tokenizer: Any, table: np.ndarray) -> Neighbours:
    """The candidates among the words of these texts.

    Args:
        texts: training texts.
        tokenizer: the teacher's.
        table: its token embeddings [tokens, d].
    """
    words = _frequent_words(texts)
    pieces = tokenizer(list(words.values()), add_special_tokens=False)["input_ids"] if words else []
    unknown = tokenizer.unk_token_id
    known = [i for i, ids in enumerate(pieces) if ids and unknown not in ids and max(ids) < len(table)]
    keys, written = ([list(names)[i] for i in known] for names in (words, words.values()))
    if len(known) < 2:
        return Neighbours({})
    places = nearest(centred_means([pieces[i] for i in known], table), K)
    return Neighbours({key: tuple(written[j] for j in row) for key, row in zip(keys, places, strict=True)})


def centred_means(pieces: Sequence[Sequence[int]], table: np.ndarray) -> np.ndarray:
    """Means [n, d] of each word's rows of the table, less their common mean.

    Mu and Viswanath 2018, "All-but-the-Top", section 2: what all vectors share hides what tells them apart.
    """
    means = np.stack([table[list(ids)].mean(axis=0) for ids in pieces]).astype(np.float32)
    return means - means.mean(axis=0)


def nearest(vectors: np.ndarray, k: int) -> np.ndarray:
    """Indices [n, min(k, n - 1)] of the vectors [n, d] with the greatest cosine to each, itself left out."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(norms > 0, norms, 1)
    k = min(k, len(unit) - 1)
    found = np.empty((len(unit), k), dtype=int)
    for start in range(0, len(unit), _ROWS):
        rows = np.arange(start, min(start + _ROWS, len(unit)))
        cosine = unit[rows] @ unit.T
        cosine[np.arange(len(rows)), rows] = -np.inf
        found[rows] = np.argsort(-cosine, axis=1, kind="stable")[:, :k]
    return found


def replaced(text: str, neighbours: Neighbours, rng: np.random.Generator, p_t: float = P_T) -> str:
    """The text with each word that has neighbours replaced by one of them with probability `p_t`."""
    parts, after = [], 0
    for start, end in word_spans(text):
        candidates = neighbours.of(text[start:end])
        if candidates and rng.random() < p_t:
            parts += [text[after:start], candidates[rng.integers(len(candidates))]]
            after = end
    return "".join([*parts, text[after:]])


def augmented(texts: Sequence[str], neighbours: Neighbours, copies: int, seed: int) -> Iterator[str]:
    """`copies` of each text with words replaced, the first of every text before the second of any; some are unchanged.

    The same for the same seed, however many of them are taken.
    """
    for number in range(copies):
        rng = np.random.default_rng([seed, number])
        for text in texts:
            yield replaced(text, neighbours, rng)


def _frequent_words(texts: Sequence[str]) -> dict[str, str]:
    """The words that recur, the most frequent first: as they are found, and as they mostly are written."""
    texts_with, written = Counter[str](), dict[str, Counter[str]]()
    for text in texts:
        words = [text[start:end] for start, end in word_spans(text)]
        texts_with.update({word.casefold() for word in words})
        for word in words:
            written.setdefault(word.casefold(), Counter())[word] += 1
    recurring = [word for word, count in texts_with.most_common(MOST_WORDS) if count >= LEAST_TEXTS]
    return {word: written[word].most_common(1)[0][0] for word in recurring}


def _is_edge(character: str) -> bool:
    return unicodedata.category(character)[0] in "PSC"
