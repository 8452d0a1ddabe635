"""Budget: how long to measure and how precisely; Turn: the calls a contestant makes before the next one."""

from __future__ import annotations

import math
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Budget", "Turn", "plan_turn"]

SECONDS_EACH = 7.5  # a contestant, unless the budget says otherwise: two are done within 15 s
TURN_SECONDS = 0.015  # timed calls of one turn: short, so that contestants see the same moments
SETTLE_AFTER_REST = 0.008  # the same for threads that slept meanwhile
SETTLE_SECONDS = 0.001  # calls that bring the caches back after another contestant ran; slow calls need none
SLOW_SECONDS = 0.02


class Budget(BaseModel):
    """When to stop. The limits are for one call of `measure` or `measure_calls`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    launches: int = Field(default=8, ge=1)
    """Fresh starts of every contestant's process before precision is asked about."""
    rounds: int = Field(default=8, ge=1)
    """Turns of every contestant in a launch, fewer when the time would not suffice."""
    min_samples: int = Field(default=64, ge=1)
    """Timed calls of every contestant: 64 allow a 90th percentile."""
    precision: float = Field(default=0.01, gt=0)
    """Wanted half width of the 95 % interval, relative to the estimate."""
    max_seconds: float | None = Field(default=None, gt=0)
    """For everything; None: 7.5 s a contestant, and half of that for every further length of its calls. Slow models are
    still launched `min_launches` times."""
    min_launches: int = Field(default=3, ge=1)

    def seconds_for(self, contestants: int, further_lengths: int = 0) -> float:
        """The time limit of a run of so many contestants, with so many lengths of their calls beyond one each."""
        if self.max_seconds is not None:
            return self.max_seconds
        return SECONDS_EACH * (contestants + further_lengths / 2)

    def rounds_for(self, limit: float, setup: float, round_seconds: float) -> int:
        """How many rounds fit into one launch's part of the limit after `setup` seconds; at least 1."""
        room = limit / self.launches - setup
        return max(1, min(self.rounds, int(room / max(round_seconds, 1e-9))))


class Turn(NamedTuple):
    """Calls of one contestant in one round."""

    settle: int
    timed: int
    call_seconds: float = 0.0

    @property
    def seconds(self) -> float:
        """How long the turn takes."""
        return (self.settle + self.timed) * self.call_seconds


def plan_turn(call_seconds: float, *, threads: int = 1, turn_seconds: float = TURN_SECONDS) -> Turn:
    """How many calls of `call_seconds` make a turn: about 15 ms of timed ones after 1 ms of settling, or 8."""
    timed = max(1, math.ceil(turn_seconds / call_seconds - 1e-9)) if call_seconds > 0 else 1000
    settling = SETTLE_AFTER_REST if threads > 1 else SETTLE_SECONDS
    settle = 0 if call_seconds >= SLOW_SECONDS else max(1, math.ceil(settling / max(call_seconds, 1e-6)))
    return Turn(settle, min(timed, 1000), call_seconds)
