"""Study: the rows that are finished, kept in one JSON file that an interrupted run goes on with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.errors import TrimfitError
from benchmarks.suites.result_file import write_result

__all__ = ["Study"]

Row = dict[str, Any]


class Study:
    """Rows by their method's key. Raises TrimfitError for a file that is none of this data's."""

    def __init__(self, path: Path, data: str) -> None:
        self.path, self.rows = path, list[Row]()
        if not path.exists():
            return
        try:
            self.rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
            others = {row["data"] for row in self.rows} - {data}
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise TrimfitError(f"got {path}, expected rows of students: {error!r}") from error
        if others:
            raise TrimfitError(f"got {path} with rows of {', '.join(sorted(others))}, expected {data}: name another")

    def has(self, key: str) -> bool:
        """Whether a method's row is finished."""
        return any(row["key"] == key for row in self.rows)

    def add(self, key: str, row: Row) -> None:
        """Keep a row."""
        self.rows.append({"key": key, **row})
        write_result(self.path, {"rows": self.rows})
