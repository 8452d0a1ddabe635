"""Importance: how much the loss would rise if a head or neuron were removed. Pure functions on gate gradients.

A gate m = 1 multiplies each head's or neuron's output; removing the unit sets m = 0. `gradients` always holds
dL/dm for mean losses L of small batches of `rows` rows each.
"""

from __future__ import annotations

import numpy as np

__all__ = ["fisher", "taylor"]


def fisher(gradients: np.ndarray, rows: int) -> np.ndarray:
    """Second-order importance [units] in nats a row: 1/2 E[(dL/dm)^2] for m from 1 to 0.

    Kwon et al. 2022, "A Fast Post-Training Pruning Framework for Transformers", eq. 6: the Hessian is replaced by
    the diagonal of the empirical Fisher matrix. The variance of a mean over `rows` rows is 1/rows of a row's.

    Args:
        gradients: [batches, units].
        rows: rows a batch.
    """
    return 0.5 * rows * np.mean(np.square(gradients), axis=0)


def taylor(gradients: np.ndarray) -> np.ndarray:
    """First-order importance [units]: E|dL/dm| over batches [batches, units].

    Molchanov et al. 2019, "Importance Estimation for Neural Network Pruning", eq. 8, on gates as in
    Michel et al. 2019, "Are Sixteen Heads Really Better than One?", eq. 2.
    """
    return np.mean(np.abs(gradients), axis=0)
