"""Result: what is finished of the study, in one JSON file that an interrupted run goes on with."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.errors import TrimfitError
from benchmarks.suites.result_file import check_conditions, write_result

__all__ = ["Result"]

Entry = dict[str, Any]


class Result:
    """Finished steps by part and name. `stop_at` is the `time.monotonic` after which nothing new is begun.

    Raises TrimfitError for a file that was measured under other conditions, or is none.
    """

    def __init__(self, path: Path, conditions: Mapping[str, Any], stop_at: float = float("inf")) -> None:
        self.path, self.conditions, self.stop_at = path, dict(conditions), stop_at
        self.parts: dict[str, Entry] = {}
        if not path.exists():
            return
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            check_conditions(path, kept["conditions"], self.conditions)
            self.parts = kept["parts"]
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise TrimfitError(f"got {path}, expected a study of a GPU: {error!r}") from error

    @property
    def out_of_time(self) -> bool:
        """Whether nothing new is to be begun."""
        return time.monotonic() > self.stop_at

    def step(self, part: str, name: str, measure: Callable[[], Any]) -> bool:
        """Do a step unless it is done, or there is no time left; whether it is done now. What it gives is kept."""
        if name in self.parts.get(part, {}):
            return True
        if self.out_of_time:
            return False
        self.parts.setdefault(part, {})[name] = measure()
        self.save()
        return True

    def save(self) -> None:
        """Write everything, complete or not at all."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_result(self.path, {"conditions": self.conditions, "parts": self.parts})
