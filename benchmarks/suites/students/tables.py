"""The table of students, those of one target together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

__all__ = ["table"]


def table(rows: Sequence[dict[str, Any]]) -> Table:
    """One line a row: what was asked, what was measured, what is left of the teacher's score."""
    asked, measured = ("method", "target", "training", "seed"), ("speed-up", "bytes", "dev", "test", "kept", "worst")
    found = Table(*asked, *measured, "student")
    for row in sorted(rows, key=lambda row: (row["target"], -row.get("kept", 0.0))):
        who = row["method"], f"{row['target']:g}x", row["training"], str(row["seed"])
        if "refused" in row:
            found.add_row(*who, "", "", "", "", "", "", row["refused"])
            continue
        found.add_row(
            *who,
            "{median:.2f}x ({low:.2f} to {high:.2f})".format(**row["speedup"]),
            f"{row['onnx_bytes_ratio']:.1f}x",
            _points(row, "dev"),
            _points(row, "test"),
            f"{100 * row['kept']:.1f} %",
            "" if row["worst_group_drop"] is None else f"{-100 * row['worst_group_drop']:+.1f}",
            row["student_is"],
        )
    return found


def _points(row: dict[str, Any], part: str) -> str:
    return f"{100 * row['teacher'][part]:.1f} -> {100 * row['student'][part]:.1f}"
