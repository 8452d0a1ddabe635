"""Duplicates: texts that are the same but for case, punctuation, spaces and the way letters are encoded."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable

__all__ = ["fingerprint", "fresh", "normal_form"]

COPY, HELD_OUT = "copies of other texts", "held out"


def normal_form(text: str) -> str:
    """Letters with their marks and digits, in one case and encoding (NFKC), a space between words.

    Of a text without any, e.g. of emojis alone, all but its spaces.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    kept = "".join(c if unicodedata.category(c)[0] in "LMN" else " " for c in folded)
    return " ".join(kept.split()) or " ".join(folded.split())


def fingerprint(text: str) -> bytes:
    """16 bytes that equal texts share, and practically no others (blake2b of `normal_form`)."""
    return hashlib.blake2b(normal_form(text).encode(), digest_size=16).digest()


def fresh(
    texts: Iterable[str], known: Collection[bytes], held_out: Collection[bytes], *, most: int | None = None
) -> tuple[list[str], Counter[str]]:
    """The texts that are new, in their order, and how many were dropped by reason.

    Args:
        texts: to look at.
        known: fingerprints of texts that are there already.
        held_out: of texts that nothing may be trained on.
        most: after so many new ones the rest is not looked at.
    """
    seen, dropped = set(known), Counter[str]()
    kept: list[str] = []
    for text in texts:
        if len(kept) == most:
            break
        mark = fingerprint(text)
        if mark in held_out:
            dropped[HELD_OUT] += 1
        elif mark in seen:
            dropped[COPY] += 1
        else:
            seen.add(mark)
            kept.append(text)
    return kept, dropped
