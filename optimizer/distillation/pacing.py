"""Pacing: which rows each batch is drawn from while a student goes from easy rows to all of them."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["WINDOW", "competence", "paced", "shuffled"]

WINDOW = 50  # batches that are drawn together, so that rows of similar length meet
LEAST_WINDOWS = 10  # of a short training, so that it is paced as well


def competence(t: float, c_0: float, T: float) -> float:
    """c(t) = min(1, sqrt(t (1 - c_0^2) / T + c_0^2)): the share of the easiest rows that is open at time t.

    Platanios et al. 2019, "Competence-based Curriculum Learning for Neural Machine Translation", section 3.2: new rows
    come in at a rate that falls as there are more of them. It starts at c_0 and all are open from T on.
    """
    return min(1.0, math.sqrt(t * (1 - c_0**2) / T + c_0**2))


def paced(
    order: np.ndarray, lengths: np.ndarray, *, steps: int, batch_size: int, start: float, until: float, seed: int
) -> np.ndarray:
    """Rows of each batch, one after the other [steps * batch_size].

    Platanios et al. 2019, algorithm 1: a batch is drawn uniformly from the rows that are open. Some batches are drawn
    together and sorted by length, so that little padding is computed.

    Args:
        order: row indices, the easiest first.
        lengths: tokens by row index.
        steps: batches.
        batch_size: rows a batch.
        start: share of the rows that is open at first.
        until: share of the steps after which all are.
        seed: of what is drawn.
    """
    rng = np.random.default_rng(seed)
    window = max(1, min(WINDOW, steps // LEAST_WINDOWS))
    drawn = []
    for first in range(0, steps, window):
        count = min(window, steps - first)
        share = competence(first / steps, start, until)
        easy = order[: max(math.ceil(share * len(order)), min(batch_size, len(order)))]
        rows = _without_replacement(rng, easy, count * batch_size)
        drawn.append(_of_like_length(rng, rows, lengths, batch_size))
    return np.concatenate(drawn)


def shuffled(lengths: np.ndarray, *, steps: int, batch_size: int, seed: int) -> np.ndarray:
    """All rows in batches of like length, in a random order [steps * batch_size]: each once before any comes again.

    The Trainer's own grouping goes from long to short within each 50 batches, so that a training may end on nothing
    but short texts.
    """
    rng = np.random.default_rng(seed)
    rows = _without_replacement(rng, np.arange(len(lengths)), steps * batch_size)
    windows = np.split(rows, range(WINDOW * batch_size, len(rows), WINDOW * batch_size))
    return np.concatenate([_of_like_length(rng, window, lengths, batch_size) for window in windows])


def _of_like_length(rng: np.random.Generator, rows: np.ndarray, lengths: np.ndarray, batch_size: int) -> np.ndarray:
    batches = rows[np.argsort(lengths[rows], kind="stable")].reshape(-1, batch_size)
    return rng.permutation(batches).ravel()


def _without_replacement(rng: np.random.Generator, rows: np.ndarray, count: int) -> np.ndarray:
    """As many rows, each once before any comes again."""
    rounds = -(-count // len(rows))
    return np.concatenate([rng.permutation(rows) for _ in range(rounds)])[:count]
