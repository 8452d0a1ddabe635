"""Pace: how fast calls may follow each other, shared by all that call; and how long to wait before trying again."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

__all__ = ["Pace", "StoppedError", "back_off"]

FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0  # seconds


class StoppedError(Exception):
    """Waiting ended because the work was given up."""


class Pace:
    """At most so many calls a minute, evenly spaced, and none while the server asks to be left alone.

    Args:
        per_minute: calls; None sets no limit.
        clock: seconds that only rise.
        sleep: waits for seconds; returns True where the work was given up meanwhile.
    """

    def __init__(
        self,
        per_minute: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._gap = 60 / per_minute if per_minute else 0.0
        self._clock, self._sleep = clock, sleep
        self._free = self._held = float("-inf")
        self._lock = threading.Lock()

    def turn(self) -> None:
        """Wait for one's turn. Raises StoppedError."""
        with self._lock:
            mine = max(self._free, self._clock())
            self._free = mine + self._gap
        while (left := max(mine, self._held) - self._clock()) > 0:
            self.wait(left)

    def wait(self, seconds: float) -> None:
        """Wait, alone. Raises StoppedError."""
        if self._sleep(seconds):
            raise StoppedError

    def hold(self, seconds: float) -> None:
        """Let nobody call for so long."""
        with self._lock:
            self._held = max(self._held, self._clock() + seconds)
            self._free = max(self._free, self._held)


def back_off(attempt: int, draw: Callable[[float, float], float] = random.uniform) -> float:
    """Seconds to wait after the failed `attempt` (0 is the first): drawn evenly from 0 to min(60, 2^attempt).

    Exponential back-off with full jitter, Brooker 2015, "Exponential Backoff And Jitter" (AWS Architecture Blog).
    """
    return draw(0.0, min(LONGEST_WAIT, FIRST_WAIT * 2**attempt))
