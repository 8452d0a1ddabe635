"""Scores of predictions: accuracy and F1 against labels, divergence from another model's."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.metrics import accuracy_score, f1_score

from benchmarks.errors import TrimfitError

__all__ = ["METRICS", "check_metric", "divergence_of", "score", "scores"]

METRICS = ("accuracy", "macro_f1", "weighted_f1")


def check_metric(metric: str) -> str:
    """`metric` itself. Raises TrimfitError when it is not one of METRICS."""
    if metric not in METRICS:
        raise TrimfitError(f"unknown metric {metric!r}, expected one of {', '.join(METRICS)}")
    return metric


def scores(labels: np.ndarray, logits: np.ndarray) -> dict[str, float]:
    """Every metric of `logits` [n, classes] against label indices [n], as shares in [0, 1].

    F1 averages over the classes that have rows, so that teacher and student are averaged over the same ones.
    """
    predicted, present = logits.argmax(axis=1), np.unique(labels)
    return {
        "accuracy": float(accuracy_score(labels, predicted)),
        "macro_f1": float(f1_score(labels, predicted, labels=present, average="macro", zero_division=0)),
        "weighted_f1": float(f1_score(labels, predicted, labels=present, average="weighted", zero_division=0)),
    }


def score(labels: np.ndarray, logits: np.ndarray, metric: str) -> float:
    """One metric, see `scores`."""
    return scores(labels, logits)[metric]


def divergence_of(teacher: np.ndarray, other: np.ndarray) -> float:
    """Kullback-Leibler divergence in nats a row of answers given as logits [rows, classes]."""
    log_p, log_q = (F.log_softmax(torch.from_numpy(x), dim=-1) for x in (teacher, other))
    return float(F.kl_div(log_q, log_p, reduction="batchmean", log_target=True))
