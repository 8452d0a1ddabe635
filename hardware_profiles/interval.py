"""Interval: what is known of a number where a point would say too much."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, model_validator

__all__ = ["Interval"]


class Interval(BaseModel):
    """From `low` to `high`, the first below the second: a modelled number is never a point."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: float
    high: float

    @model_validator(mode="after")
    def _is_no_point(self) -> Interval:
        if not self.low < self.high:
            raise ValueError(f"got {self.low} to {self.high}, expected the first below the second: say what is known")
        return self

    @property
    def in_percent(self) -> str:
        """E.g. "20 to 66 %" of an interval of shares."""
        return f"{100 * self.low:.0f} to {100 * self.high:.0f} %"
