"""RuntimeElsewhere: a runtime of another machine, of which a profile tells. Nothing runs in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.errors import TrimfitError
from hardware_profiles.runtimes.runtime import LOGIT_TOLERANCE, Session

__all__ = ["RuntimeElsewhere"]


@dataclass(frozen=True)
class RuntimeElsewhere:
    """What a profile says of the runtime that it was measured with. Raises TrimfitError when asked to do anything."""

    name: str
    version: str
    precisions: tuple[str, ...]
    contested: Mapping[str, str] = field(default_factory=dict, hash=False)
    skips_zeros: bool = False
    logit_tolerance: float = LOGIT_TOLERANCE

    def at(self, precision: str) -> RuntimeElsewhere:
        """Itself: nothing is loaded."""
        return self

    def options(self) -> dict[str, Any]:
        """None: it is configured where it is."""
        return {}

    def with_options(self, options: Mapping[str, Any]) -> RuntimeElsewhere:
        """The same runtime: options say how to run, which it does not."""
        return self

    def alternatives(self, threads: int) -> dict[str, RuntimeElsewhere]:
        """Only itself."""
        return {"stock": self}

    def loader(self) -> None:
        """None: it loads nothing."""

    def session(self, path: Path, threads: int) -> Session:
        """Refuse."""
        raise self._refusal()

    def prepare(self, *given: object, **named: object) -> Path:
        """Refuse."""
        raise self._refusal()

    def _refusal(self) -> TrimfitError:
        return TrimfitError(
            f"got a profile of {self.name} {self.version}, expected a device: a profile predicts, it cannot run a model"
        )
