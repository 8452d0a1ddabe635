"""Conditions: when, and with which version of trimfit, a part of a profile was measured."""

from __future__ import annotations

import datetime
from importlib import metadata

from pydantic import BaseModel, ConfigDict

__all__ = ["Conditions"]


class Conditions(BaseModel):
    """A day (UTC) and the version that measured on it. What was asked stands beside every timing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    date: datetime.date
    trimfit: str

    @classmethod
    def now(cls) -> Conditions:
        """Today's, with the version that is installed."""
        try:
            version = metadata.version("trimfit")
        except metadata.PackageNotFoundError:
            version = "not installed"
        return cls(date=datetime.datetime.now(datetime.timezone.utc).date(), trimfit=version)

    def __str__(self) -> str:
        """E.g. "2026-11-22 by trimfit 0.1.0"."""
        return f"{self.date} by trimfit {self.trimfit}"
