"""Said: what a black box said of one text, and how it is read off an answer in JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from optimizer.distillation.black_box.distribution import completed, smoothed
from optimizer.distillation.black_box.label_set import LabelSet

__all__ = ["OUTSIDE", "Said", "at_path", "said_in"]

OUTSIDE = "the teacher's answer is none of the labels"

LABEL_KEYS = ("label", "class", "answer", "prediction", "category")
SCORE_KEYS = ("score", "probability", "confidence", "p")
TABLE_KEYS = ("probabilities", "probs", "scores", "predictions", "top_k", "top")
LIST_KEYS = ("labels", "scores")  # of equal length, as zero-shot classifiers answer
SLACK = 0.01  # by which rounded probabilities may sum to more than 1

Pair = tuple[str, float | None]


@dataclass(frozen=True)
class Said:
    """A class, and, where they were given, probabilities [classes], NaN for those that were not.

    `rest` is the mass that nothing listed has, `ceiling` the smallest probability that was listed, of anything.
    """

    label: int
    listed: np.ndarray
    rest: float = 0.0
    ceiling: float = 1.0

    @property
    def has_probabilities(self) -> bool:
        """Whether there is more than a label."""
        return not np.isnan(self.listed).all()

    @property
    def distribution(self) -> np.ndarray:
        """Probabilities [classes] that sum to 1, see `distribution.completed` and `smoothed`."""
        if self.has_probabilities:
            return completed(self.listed, self.rest, self.ceiling)
        return smoothed(self.label, len(self.listed))


def said_in(value: Any, labels: LabelSet) -> Said | None:
    """What an answer says: None where it names none of the classes.

    Read are a label; `{"label": .., "score": ..}`; a list of these; `{"labels": [..], "scores": [..]}`; a mapping of
    labels to probabilities, alone or under one of the names `TABLE_KEYS`; JSON in a text. Numbers that are no
    probabilities count for their order only.
    """
    pairs = [(labels.index(name), p) for name, p in _pairs(value, labels)]
    numbered = [(p, index) for index, p in pairs if p is not None]
    bare = [index for index, p in pairs if p is None]
    best = bare[0] if bare else max(numbered, key=lambda pair: pair[0])[1] if numbered else None
    if best is None:
        return None
    listed, numbers = np.full(len(labels), np.nan), [p for p, _ in numbered]
    if bare or min(numbers) < 0 or sum(numbers) > 1 + SLACK:
        return Said(best, listed)
    for p, index in numbered:
        if index is not None:
            listed[index] = np.nansum([listed[index], p])
    return Said(int(np.nanargmax(listed)), listed, max(0.0, 1 - sum(numbers)), min(numbers))


def at_path(value: Any, path: str) -> Any:
    """The part of an answer at a dotted path such as `result.0`; None where there is none."""
    for step in filter(None, path.split(".")):
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def _pairs(value: Any, labels: LabelSet) -> list[Pair]:
    """Labels, each with its number, or one without."""
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, str):
        inner = None if labels.index(value) is not None else _json_in(value)
        return [(value, None)] if inner is None else _pairs(inner, labels)
    if isinstance(value, bool | int):
        return [(str(value), None)]
    if isinstance(value, list):
        return _of_list(value)
    return _of_mapping(value, labels) if isinstance(value, Mapping) else []


def _of_list(entries: Any) -> list[Pair]:
    """`[{"label": .., "score": ..}, ..]` or `[[label, probability], ..]`; none in what is no list."""
    return _numbered(map(_entry, entries)) if isinstance(entries, list) else []


def _entry(entry: Any) -> tuple[Any, Any]:
    if isinstance(entry, Mapping):
        return _first(entry, LABEL_KEYS), _first(entry, SCORE_KEYS)
    return (entry[0], entry[1]) if isinstance(entry, list) and len(entry) == 2 else (None, None)


def _of_mapping(value: Mapping[str, Any], labels: LabelSet) -> list[Pair]:
    names, scores = (value.get(key) for key in LIST_KEYS)
    if isinstance(names, list) and isinstance(scores, list):
        return _numbered(zip(names, scores, strict=False))
    for key in TABLE_KEYS:
        inner = _json_in(value[key]) if isinstance(value.get(key), str) else value.get(key)
        found = _numbered(inner.items()) if isinstance(inner, Mapping) else _of_list(inner)
        if found:
            return found
    by_name = _numbered((name, p) for name, p in value.items() if labels.index(name) is not None)
    if by_name:
        return by_name
    label, score = _first(value, LABEL_KEYS), _first(value, SCORE_KEYS)
    if isinstance(label, Mapping | list):
        return _pairs(label, labels)
    return [] if label is None else _numbered([(label, score)]) or [(_name(label), None)]


def _numbered(pairs: Iterable[tuple[Any, Any]]) -> list[Pair]:
    return [(_name(name), float(p)) for name, p in pairs if name is not None and _is_number(p)]


def _first(value: Mapping[str, Any], keys: Sequence[str]) -> Any:
    return next((value[key] for key in keys if value.get(key) is not None), None)


def _is_number(p: Any) -> bool:
    return isinstance(p, int | float) and not isinstance(p, bool) and math.isfinite(p)


def _name(label: Any) -> str:
    return str(int(label)) if isinstance(label, float) and label.is_integer() else str(label)


def _json_in(text: str) -> Any:
    """The object or list that a text holds, as models put it, between fences or not; None where it holds none."""
    found = re.search(r"\{.*\}|\[.*\]", text, flags=re.DOTALL)
    try:
        return json.loads(found.group()) if found else None
    except ValueError:
        return None
