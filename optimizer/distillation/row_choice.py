"""Row choice: a rule put into practice in one training, the same again when it goes on after an interruption."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from torch.utils.data import Sampler
from transformers import PreTrainedModel

from optimizer import files
from optimizer.distillation.pacing import shuffled
from optimizer.distillation.rows import RowRule, chosen, order_of
from optimizer.encoding import Encoded
from optimizer.inference import predict

__all__ = ["InOrder", "rows_to_train_on", "sampler_of", "usable"]

_NOTE = "rows.npy"


def usable(rule: RowRule, rows: Encoded) -> Encoded:
    """What the rule leaves without asking the student; all rows where no teacher has answered them."""
    if rows.teacher_logits is None or rule.asks_student:
        return rows
    indices = chosen(rule, rows)
    return rows if len(indices) == len(rows) else rows.take(indices)


def rows_to_train_on(
    rule: RowRule, rows: Encoded, model: PreTrainedModel, *, needed: int, seed: int, folder: Path
) -> Encoded:
    """What the rule leaves of the rows for a training that looks at `needed` of them.

    A student that is asked answers as many as that takes, no more; what it chose is kept in `folder`.
    """
    if rows.teacher_logits is None or not rule.asks_student:
        return usable(rule, rows)
    note = folder / _NOTE
    if not note.is_file():
        share = rule.most(len(rows)) / len(rows)
        asked = rows.drawn(math.ceil(needed / share), seed)
        some = rows.take(asked)
        indices = asked[chosen(rule, some, predict(model, some, exact=False))]
        files.write_atomically(note, lambda path: _write(path, indices))
    return rows.take(np.load(note))


def sampler_of(rule: RowRule, rows: Encoded, *, steps: int, batch_size: int, seed: int) -> InOrder:
    """The rows of all steps in the rule's order; shuffled where it has none, or no teacher has answered them."""
    order = None
    if rows.teacher_logits is not None:
        order = order_of(rule, rows, steps=steps, batch_size=batch_size, seed=seed)
    return InOrder(shuffled(rows.lengths, steps=steps, batch_size=batch_size, seed=seed) if order is None else order)


class InOrder(Sampler[int]):
    """Rows as they stand in a list, which is one epoch."""

    def __init__(self, order: np.ndarray) -> None:
        self.order = order

    def __iter__(self) -> Iterator[int]:
        return iter(self.order.tolist())

    def __len__(self) -> int:
        return len(self.order)


def _write(path: Path, indices: np.ndarray) -> None:
    with path.open("wb") as file:
        np.save(file, indices)
