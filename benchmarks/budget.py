"""Budget: how long to measure and how precisely; Turn: the calls a contestant makes before the next one."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from benchmarks.worker.__main__ import Turn, plan_turn

__all__ = ["Budget", "Turn", "plan_turn"]

SECONDS_EACH = 7.5  # a contestant, unless the budget says otherwise: two are done within 15 s


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
