"""Importance: how much the loss would rise if a head or neuron were removed. Pure functions on arrays.

A gate m = 1 multiplies each head's or neuron's output; removing the unit sets m = 0.
"""

from __future__ import annotations

import numpy as np

__all__ = ["draw_labels", "fisher"]


def fisher(gradients: np.ndarray) -> np.ndarray:
    """Second-order importance [units] in nats a row: 1/2 E[(dL/dm)^2] for m from 1 to 0.

    Kwon et al. 2022, "A Fast Post-Training Pruning Framework for Transformers", eq. 6: the Hessian is replaced by the
    diagonal of the Fisher matrix. With labels drawn from the model's own answers (`draw_labels`) it is the true Fisher,
    and the estimate is the divergence from the model as it was (Kunstner et al. 2019, "Limitations of the Empirical
    Fisher Approximation", section 2).

    Args:
        gradients: dL/dm of single rows [rows, units].
    """
    return 0.5 * np.mean(np.square(gradients), axis=0)


def draw_labels(logits: np.ndarray, seed: int) -> np.ndarray:
    """One label [rows] a row, drawn from softmax(logits [rows, classes])."""
    noise = np.random.default_rng(seed).gumbel(size=logits.shape)  # the argmax of logits + Gumbel noise is such a draw
    return (logits + noise).argmax(axis=1)
