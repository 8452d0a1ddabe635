"""Study: everything measured so far, kept in one JSON file that an interrupted run goes on with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.suites.result_file import check_conditions, write_result
from benchmarks.suites.sparse_engines.cell import BEST_ISA, Cell

__all__ = ["LISTS", "Study"]

LISTS = ("rows", "kernels", "break_even", "kernels_in_rows", "break_even_in_rows", "refused")
HIDDEN = "wider_vectors_hidden"
UNCAPPED = f"isa={BEST_ISA}"

Entry = dict[str, Any]
Found = Mapping[str, list[Entry]]


class Study:
    """The entries of every finished cell.

    The file holds "rows", "kernels", "break_even" and "refused" of the operators' own choice of instructions,
    the same lists below "wider_vectors_hidden", the finished "cells" with their seconds, and "conditions".
    Layers whose activations are in rows, not in tiles, are apart: "kernels_in_rows", "break_even_in_rows".
    """

    def __init__(self, path: Path, conditions: Mapping[str, Any]) -> None:
        """Read what `path` holds already.

        Raises:
            TrimfitError: the file is of another device or of other versions.
        """
        self.path, self.conditions = path, dict(conditions)
        self.cells: dict[str, Entry] = {}
        self.entries: dict[str, list[Entry]] = {name: [] for name in LISTS}
        if path.exists():
            self._read(json.loads(path.read_text()))

    def _read(self, kept: dict[str, Any]) -> None:
        check_conditions(self.path, kept["conditions"], self.conditions)
        self.cells = kept["cells"]
        for name in LISTS:
            self.entries[name] = [*kept[name], *kept[HIDDEN][name]]

    def has(self, cell: Cell) -> bool:
        """Whether the cell is finished."""
        return cell.label in self.cells

    def add(self, cell: Cell, found: Found, about: Entry) -> None:
        """Keep what a cell gave, instead of what it gave before, and write everything."""
        self.cells[cell.label] = about
        for name in LISTS:
            others = [entry for entry in self.entries[name] if entry["cell"] != cell.label]
            new = [{**entry, "isa": cell.isa_name, "cell": cell.label} for entry in found.get(name, [])]
            self.entries[name] = others + new
        self.save()

    def best(self) -> dict[str, list[Entry]]:
        """The entries of the operators' own choice of instructions."""
        return self._lists(best=True)

    def save(self, **extra: Any) -> None:
        """Write the file, complete or not at all; `extra` goes beside what was measured."""
        kept = {**self._lists(best=True), HIDDEN: self._lists(best=False), "cells": self.cells}
        write_result(self.path, {**kept, "conditions": self.conditions, **extra})

    def _lists(self, best: bool) -> dict[str, list[Entry]]:
        return {name: [x for x in self.entries[name] if x["cell"].endswith(UNCAPPED) is best] for name in LISTS}
