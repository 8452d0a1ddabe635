"""Training rows: texts that join the labelled ones of a distillation, for the teacher to label.

A student learns what the teacher answers, so a text needs no label: Bucila, Caruana, Niculescu-Mizil 2006, "Model
Compression", distil on unlabelled and on made-up data.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from optimizer.distillation.augmentation import augmented, neighbours_of
from optimizer.distillation.duplicates import fingerprint, fresh
from optimizer.manifest import TrainingFacts
from optimizer.tasks import Rows

__all__ = ["NO_MORE", "Joined", "MoreTexts"]

NO_ROOM = "more than the minutes allow"


@dataclass(frozen=True)
class MoreTexts:
    """What may join the labelled rows: unlabelled texts, and so many `copies` of each row with words replaced.

    `held_out` are the fingerprints of the texts that nothing may be trained on; `dropped` counts unlabelled texts that
    are out already, by reason.
    """

    unlabelled: tuple[str, ...] = ()
    copies: int = 0
    held_out: frozenset[bytes] = frozenset()
    dropped: dict[str, int] = field(default_factory=dict)

    def join(self, labelled: Rows, room: int, tokenizer: Any, table: np.ndarray, seed: int) -> Joined:
        """The texts that join, at most `room` of them: the unlabelled ones first, drawn where they are too many.

        Args:
            labelled: rows that are trained on.
            room: texts that the minutes allow beside them.
            tokenizer: the teacher's.
            table: its token embeddings [tokens, d].
            seed: of what is drawn.
        """
        some, dropped = _drawn(self.unlabelled, room, seed), Counter(self.dropped)
        if len(some) < len(self.unlabelled):
            dropped[NO_ROOM] += len(self.unlabelled) - len(some)
        made: list[str] = []
        if self.copies and room > len(some):
            neighbours = neighbours_of(labelled.texts, tokenizer, table)
            known = {fingerprint(text) for text in (*labelled.texts, *some)}
            copies = augmented(labelled.texts, neighbours, self.copies, seed)
            made, _ = fresh(copies, known, self.held_out, most=room - len(some))
        facts = TrainingFacts(
            labelled=len(labelled), unlabelled=len(some), unlabelled_dropped=dict(dropped), augmented=len(made)
        )
        return Joined((*some, *made), facts)


@dataclass(frozen=True)
class Joined:
    """The texts that joined, and how many there are of which kind."""

    texts: tuple[str, ...]
    facts: TrainingFacts


NO_MORE = MoreTexts()


def _drawn(texts: tuple[str, ...], count: int, seed: int) -> tuple[str, ...]:
    if count >= len(texts):
        return texts
    chosen = np.sort(np.random.default_rng(seed).choice(len(texts), max(0, count), replace=False))
    return tuple(texts[i] for i in chosen)
