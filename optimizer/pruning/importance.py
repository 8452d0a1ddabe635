"""Importance: how much the loss would rise if a head or neuron were removed. Pure functions on arrays.

A gate m = 1 multiplies each head's or neuron's output; removing the unit sets m = 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

__all__ = ["DEFAULT_IMPORTANCE", "IMPORTANCES", "Importance", "draw_labels", "fisher", "magnitude", "taylor"]

Importance = Literal["second-order", "fisher", "taylor", "magnitude"]
"""By what heads and neurons go first: the error of the layer's output, corrected (see `removal`), or a gate's worth."""
IMPORTANCES: tuple[Importance, ...] = get_args(Importance)
DEFAULT_IMPORTANCE: Importance = "second-order"


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


def taylor(gradients: np.ndarray) -> np.ndarray:
    """First-order importance [units] in nats a row: E|dL/dm|, the size of the loss's linear change for m from 1 to 0.

    Michel, Levy and Neubig 2019, "Are Sixteen Heads Really Better than One?", section 4.1. For a gate dL/dm is the sum
    of g w over the weights that it multiplies: Molchanov et al. 2019, "Importance Estimation for Neural Network
    Pruning", section 3.1, whose squares are what `fisher` averages.

    Args:
        gradients: dL/dm of single rows [rows, units].
    """
    return np.mean(np.abs(gradients), axis=0)


def magnitude(matrices: Sequence[np.ndarray], size: int = 1) -> np.ndarray:
    """L2 norm [units] of all weights of a unit. No loss, and to be compared within one block only.

    Li et al. 2017, "Pruning Filters for Efficient ConvNets", section 3, there with the L1 norm.

    Args:
        matrices: weights [units * size, anything], `size` neighbouring rows a unit.
        size: rows of a unit.
    """
    squares = sum(np.square(matrix, dtype=np.float64).sum(axis=1) for matrix in matrices)
    return np.sqrt(np.reshape(squares, (-1, size)).sum(axis=1))


def draw_labels(logits: np.ndarray, seed: int) -> np.ndarray:
    """One label [rows] a row, drawn from softmax(logits [rows, classes])."""
    noise = np.random.default_rng(seed).gumbel(size=logits.shape)  # the argmax of logits + Gumbel noise is such a draw
    return (logits + noise).argmax(axis=1)
