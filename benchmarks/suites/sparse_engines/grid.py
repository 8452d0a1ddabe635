"""The cells of the study in the order they are measured: those a target asks for come first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import product

from benchmarks.errors import TrimfitError
from benchmarks.suites.sparse_engines.cell import BEST_ISA, Cell, Kind, Layout
from benchmarks.suites.sparse_engines.encoders import ENCODERS
from benchmarks.suites.sparse_engines.targets import LENGTH, SHORT_SPARSITY, SHORT_SPEEDUP

__all__ = ["ASKED", "asked_cells", "chosen_cells", "grid", "quick_cells"]

ASKED = "asked"
SHAPES = ("3072x768", "768x768", "768x3072")
SPARSITIES = (0.9, 0.8, 0.95)
TOKENS = (16, 64, 128, 384)
THREADS = (1, 2)
HIDDEN_ISA = "avx2"


def asked_cells() -> list[Cell]:
    """The cells some target is about."""
    whole = _models([LENGTH], SPARSITIES, THREADS)
    return [*_layers(), *whole, *_models(sorted(SHORT_SPEEDUP), [SHORT_SPARSITY], [1])]


def grid() -> list[Cell]:
    """Every cell: those asked for, layers that convert their activations, wider vectors hidden, the rest."""
    hidden = [*_layers(isa=HIDDEN_ISA), *_models([LENGTH], SPARSITIES, [1], HIDDEN_ISA)]
    return list(dict.fromkeys([*asked_cells(), *_layers("rows"), *hidden, *_models(TOKENS, SPARSITIES, THREADS)]))


def quick_cells() -> list[Cell]:
    """Enough to see that everything runs."""
    return [Cell("kernel", "768x768"), Cell("break-even", "768x768"), Cell("model", "minilm-6", sparsity=0.9)]


def chosen_cells(cells: Sequence[Cell], patterns: Sequence[str] | None) -> list[Cell]:
    """The cells whose label fits one of the patterns anywhere; "asked" stands for those a target is about.

    Raises:
        TrimfitError: a pattern fits none.
    """
    if not patterns:
        return list(cells)
    asked = set(asked_cells())
    for pattern in patterns:
        if not any(_fits(cell, pattern, asked) for cell in cells):
            raise TrimfitError(
                f"got --only {pattern}, expected {ASKED} or part of a label such as {cells[0].label}: see --list"
            )
    return [cell for cell in cells if any(_fits(cell, pattern, asked) for pattern in patterns)]


def _fits(cell: Cell, pattern: str, asked: set[Cell]) -> bool:
    return cell in asked if pattern == ASKED else fnmatchcase(cell.label, f"*{pattern}*")


def _layers(layout: Layout = "tiles", isa: str = BEST_ISA) -> list[Cell]:
    kinds: tuple[Kind, ...] = ("kernel", "break-even")
    return [Cell(kind, shape, LENGTH, isa=isa, layout=layout) for kind in kinds for shape in SHAPES]


def _models(
    tokens: Iterable[int], sparsities: Iterable[float], threads: Iterable[int], isa: str = BEST_ISA
) -> Iterator[Cell]:
    """Thread counts change fastest: they share the prepared files."""
    for length, sparsity, model, count in product(tokens, sparsities, ENCODERS, threads):
        yield Cell("model", model, length, count, sparsity, isa)
