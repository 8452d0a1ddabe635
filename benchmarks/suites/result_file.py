"""Result files of studies: JSON with one entry a line, so that versions of a file can be compared."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.errors import TrimfitError

__all__ = ["check_conditions", "write_result"]


def write_result(path: Path, kept: Mapping[str, Any]) -> None:
    """Write the file, complete or not at all."""
    part = path.with_suffix(".part")
    part.write_text("{\n" + ",\n".join(f"{json.dumps(key)}: {_value(value)}" for key, value in kept.items()) + "\n}\n")
    os.replace(part, path)


def check_conditions(path: Path, kept: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise TrimfitError, naming the first that differs, unless the file was measured under the conditions of now."""
    for field, value in now.items():
        if kept.get(field) != value:
            raise TrimfitError(
                f"got {path} measured with {field} {kept.get(field)}, expected {value}: name another file"
            )


def _value(value: Any) -> str:
    if isinstance(value, list) and value:
        return "[\n " + ",\n ".join(json.dumps(entry) for entry in value) + "\n]"
    if isinstance(value, dict) and value:
        return "{\n " + ",\n ".join(f"{json.dumps(key)}: {_value(entry)}" for key, entry in value.items()) + "\n}"
    return json.dumps(value)
