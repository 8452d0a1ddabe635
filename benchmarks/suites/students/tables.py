"""Tables of students: how fast, how good and what they cost, those of one target together; scores on other sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

__all__ = ["also_table", "table"]


WHO = ("method", "target", "training", "seed")


def table(rows: Sequence[dict[str, Any]]) -> Table:
    """One line a row: what was asked, what was measured, what is left of the teacher's score."""
    asked, measured = WHO, ("speed-up", "bytes", "dev", "test", "kept", "worst", "minutes", "MiB")
    found = Table(*asked, *measured, "student")
    for row in _sorted(rows):
        if "refused" in row:
            found.add_row(*_who(row), *("" for _ in measured), row["refused"])
            continue
        found.add_row(
            *_who(row),
            "{median:.2f}x ({low:.2f} to {high:.2f})".format(**row["speedup"]),
            f"{row['onnx_bytes_ratio']:.1f}x",
            _points(row, "dev"),
            _points(row, "test"),
            f"{100 * row['kept']:.1f} %",
            "" if row["worst_group_drop"] is None else f"{-100 * row['worst_group_drop']:+.1f}",
            f"{row['minutes']:.0f}",
            f"{row['peak_mib']:.0f}",
            row["student_is"],
        )
    return found


def also_table(rows: Sequence[dict[str, Any]]) -> Table | None:
    """Scores of teacher and student on further sets, such as other domains; None where there are none."""
    names = list(dict.fromkeys(name for row in rows for name in row.get("also", {})))
    if not names:
        return None
    found = Table(*WHO, *names)
    for row in _sorted(rows):
        if "also" in row:
            scores = (row["also"][name] for name in names)
            found.add_row(*_who(row), *(f"{100 * s['teacher']:.1f} -> {100 * s['student']:.1f}" for s in scores))
    return found


def _sorted(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: (row["target"], -row.get("kept", 0.0)))


def _who(row: dict[str, Any]) -> tuple[str, ...]:
    return row["method"], f"{row['target']:g}x", row["training"], str(row["seed"])


def _points(row: dict[str, Any], part: str) -> str:
    return f"{100 * row['teacher'][part]:.1f} -> {100 * row['student'][part]:.1f}"
