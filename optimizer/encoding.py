"""Encoded: tokenised rows, and the length-bucketed batches made of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from optimizer.tasks import Rows

__all__ = ["Encoded", "collate", "encode", "typical_length"]

LONGEST = 256  # tokens; longer texts are cut unless --seq-len asks for more
LENGTH_SHARE = 99.5  # per cent of the training texts that fit uncut below LONGEST


@dataclass(frozen=True)
class Encoded:
    """Token ids of each row (unpadded), its label [n] and, for distillation, the teacher's logits [n, classes]."""

    input_ids: tuple[list[int], ...]
    labels: np.ndarray
    pad_token_id: int
    teacher_logits: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.input_ids)

    def __getitem__(self, row: int) -> dict[str, Any]:
        item: dict[str, Any] = {"input_ids": self.input_ids[row], "labels": int(self.labels[row])}
        if self.teacher_logits is not None:
            item["teacher_logits"] = self.teacher_logits[row]
        return item

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each row [n]."""
        return np.array([len(ids) for ids in self.input_ids])

    def take(self, rows: Sequence[int] | np.ndarray) -> Encoded:
        """The rows at these indices."""
        logits = None if self.teacher_logits is None else self.teacher_logits[np.asarray(rows)]
        return Encoded(tuple(self.input_ids[i] for i in rows), self.labels[np.asarray(rows)], self.pad_token_id, logits)

    def sample(self, count: int, seed: int) -> Encoded:
        """At most `count` rows drawn without replacement."""
        return self if count >= len(self) else self.take(self.drawn(count, seed))

    def drawn(self, count: int, seed: int) -> np.ndarray:
        """The rising indices of the rows that `sample` takes."""
        if count >= len(self):
            return np.arange(len(self))
        return np.sort(np.random.default_rng(seed).choice(len(self), count, replace=False))

    def joined(self, other: Encoded) -> Encoded:
        """These rows, then the other ones, without the teacher's logits."""
        labels = np.concatenate([self.labels, other.labels])
        return Encoded((*self.input_ids, *other.input_ids), labels, self.pad_token_id)

    def with_teacher(self, logits: np.ndarray) -> Encoded:
        """The same rows with the teacher's logits beside them."""
        return replace(self, teacher_logits=logits.astype(np.float32))

    def buckets(self, batch_size: int) -> Iterator[tuple[np.ndarray, dict[str, torch.Tensor]]]:
        """Row indices and padded batch, rows of similar length together, so that little padding is computed."""
        order = np.argsort(self.lengths, kind="stable")
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            yield rows, collate([self[i] for i in rows], self.pad_token_id)


def collate(items: Sequence[dict[str, Any]], pad_token_id: int) -> dict[str, torch.Tensor]:
    """Pad rows to the longest of them: input_ids and attention_mask [batch, tokens], labels [batch]."""
    longest = max(len(item["input_ids"]) for item in items)
    input_ids = torch.full((len(items), longest), pad_token_id)
    attention_mask = torch.zeros((len(items), longest), dtype=torch.long)
    for row, item in enumerate(items):
        length = len(item["input_ids"])
        input_ids[row, :length] = torch.tensor(item["input_ids"])
        attention_mask[row, :length] = 1
    batch = {"input_ids": input_ids, "attention_mask": attention_mask}
    batch["labels"] = torch.tensor([item["labels"] for item in items])
    if "teacher_logits" in items[0]:
        batch["teacher_logits"] = torch.from_numpy(np.stack([item["teacher_logits"] for item in items]))
    return batch


def encode(rows: Rows, tokenizer: Any, max_length: int) -> Encoded:
    """Tokenise texts, cut at `max_length` tokens, not padded."""
    ids = tokenizer(list(rows.texts), truncation=True, max_length=max_length, add_special_tokens=True)["input_ids"]
    return Encoded(tuple(ids), rows.labels, tokenizer.pad_token_id)


def typical_length(encoded: Encoded) -> int:
    """Median tokens of a row: the sequence length that is measured when the person names none."""
    return int(np.median(encoded.lengths))
