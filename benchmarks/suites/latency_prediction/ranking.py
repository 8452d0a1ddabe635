"""Ranking: whether the best of several candidates that are predicted to take about the same is among the fastest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from benchmarks.suites.latency_prediction.group import Group
from benchmarks.suites.latency_prediction.held_out import random_shape, random_sparsity
from benchmarks.suites.latency_prediction.model import KINDS, Model
from hardware_profiles.shape import EncoderShape

__all__ = ["BAND", "candidates", "near", "random_regret", "regret"]

BAND = 0.08  # candidates are predicted to take the target, give or take this share of it
MOST_DRAWS = 20_000
_FORMS = 3
_STREAM = 1000  # of random numbers, beyond those of the held-out models


def regret(predicted: Sequence[float], measured: Sequence[float]) -> float:
    """How much longer the predicted best takes than the truly fastest, as a share of the latter's time."""
    return float(measured[int(np.argmin(predicted))] / min(measured) - 1)


def random_regret(measured: Sequence[float]) -> float:
    """The regret of one picked at random, on average: what a ranking that knows nothing would cost."""
    return float(np.mean(measured) / min(measured) - 1)


def near(draws: Iterator[Model], predicted_ms: Callable[[Model], float], target_ms: float, count: int) -> list[Model]:
    """The first `count` different models that are predicted to take the target; fewer when the draws end."""
    found: dict[Model, None] = {}
    for model in draws:
        if abs(predicted_ms(model) / target_ms - 1) <= BAND:
            found[model] = None
        if len(found) == count:
            break
    return list(found)


def candidates(group: Group, predicted_ms: Callable[[Model], float], target_ms: float, seed: int = 0) -> list[Model]:
    """As many models as the group ranks, of all kinds alike where they reach the target, predicted to take about it."""
    share = -(-group.candidates // len(KINDS))
    found = [near(_draws(group, kind, seed), predicted_ms, target_ms, group.candidates) for kind in range(len(KINDS))]
    fair = [model for models in found for model in models[:share]]
    spare = [model for models in found for model in models[share:]]
    return (fair + spare)[: group.candidates]


def _draws(group: Group, kind: int, seed: int) -> Iterator[Model]:
    """Models of a kind: full layers but fewer, layers narrowed alike, or every layer at random."""
    random = np.random.default_rng(
        (seed, group.hidden_size, group.workload.seq_len, group.workload.threads, 1000, kind)
    )
    precision, pattern = KINDS[kind]
    for number in range(MOST_DRAWS):
        sparsity = random_sparsity(random) if pattern != "dense" else 0.0
        yield Model(_form(group, number % _FORMS, random), precision, pattern, sparsity)


def _form(group: Group, form: int, random: np.random.Generator) -> EncoderShape:
    depth = int(random.integers(1, group.depth, endpoint=True))
    if form == 0:
        return group.shape(depth, group.max_heads, group.max_ffn)
    if form == 1:
        share = random.uniform(0.1, 1.0)
        return group.shape(depth, max(1, round(share * group.max_heads)), max(1, round(share * group.max_ffn)))
    return random_shape(group, random)
