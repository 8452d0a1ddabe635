"""Calls of several threads, those made while the threads' CPUs were near each other.

Where CPUs are virtual the machine below may move them between its cores. Seen with the two of a rented AMD EPYC: a
cache line passes between them in 85 ns most of the time, and for some seconds in a row in 400 ns, as if they were on
two chips. Then a chain of products of 16 rows gains nothing from its second thread (118 us, 74 before).
Prediction is of the first state: what part of the time the second takes is not the model's doing, and not the device's
either, whose processes know nothing of it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["near"]

FASTER = 20  # percentile: the lesser part of the calls is enough to know what they take in the faster state
APART = 1.1  # times as long, from which a call belongs to the slower one


def near(seconds: NDArray[np.float64], threads: int) -> NDArray[np.float64]:
    """Those of the calls' seconds [n] that belong to the faster state; all of them with one thread."""
    if threads == 1 or not seconds.size:
        return seconds
    return seconds[seconds <= APART * np.percentile(seconds, FASTER)]
