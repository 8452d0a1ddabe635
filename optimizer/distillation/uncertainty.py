"""Uncertainty: how sure a model is of each row, and how far two models are apart there; pure formulas on logits."""

from __future__ import annotations

import numpy as np

__all__ = ["disagreement", "entropy", "margin", "probabilities"]


def probabilities(logits: np.ndarray) -> np.ndarray:
    """softmax [n, classes] in float64."""
    z = logits.astype(np.float64)
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def entropy(logits: np.ndarray) -> np.ndarray:
    """H = -sum_y P(y|x) log P(y|x) [n], in nats.

    Settles 2009, "Active Learning Literature Survey", section 3.1: the rows of greatest entropy are queried. Li et al.
    2021, "Dynamic Knowledge Distillation for Pre-trained Language Models", distil on such rows alone.
    """
    P = probabilities(logits)
    return -_p_log(P, P).sum(axis=1)


def margin(logits: np.ndarray) -> np.ndarray:
    """P(y1|x) - P(y2|x) [n] of the two likeliest classes: 1 is sure, 0 is a tie.

    Settles 2009, section 3.1, after Scheffer, Decomain, Wrobel 2001.
    """
    P = np.sort(probabilities(logits), axis=1)
    return P[:, -1] - P[:, -2]


def disagreement(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Mean Kullback-Leibler divergence to the mean [n], in nats, of a committee of two: 0 to log 2.

    McCallum and Nigam 1998, "Employing EM and Pool-Based Active Learning for Text Classification", section 3: a
    committee's disagreement about a document. Here teacher and student are the committee.
    """
    members = probabilities(first), probabilities(second)
    mean = (members[0] + members[1]) / 2
    return sum((_p_log(P, P) - _p_log(P, mean)).sum(axis=1) for P in members) / 2


def _p_log(P: np.ndarray, Q: np.ndarray) -> np.ndarray:
    """P log Q, 0 where P is."""
    return np.where(P > 0, P * np.log(np.where(P > 0, Q, 1.0)), 0.0)
