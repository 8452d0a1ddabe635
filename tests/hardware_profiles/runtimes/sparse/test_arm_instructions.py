"""The NEON kernels multiply whole vectors and do little else: counted, not timed.

A count is exact and the same everywhere. It notices a loop that the compiler no longer turns into vector instructions,
or that reloads what it had; how long a device takes it cannot say.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from hardware_profiles.runtimes.sparse.library import library_path

pytest.importorskip("unicorn", reason="got no unicorn, which counts instructions: pip install unicorn")

from kernel_machine import Executed, KernelMachine

ROWS, COLUMNS = 48, 96
MULTIPLY, MULTIPLY_INT8 = 1, 2  # their places in the table, kernels.h
LANES = 4  # floats or int32 in a register
GROUP = 4  # rows whose entries are interleaved, plan.h
BLOCK = 4  # int8 weights in an entry
ZEROS = (0.0, 0.5, 0.9)


def a_plan(machine: KernelMachine, kept: np.ndarray, weights: np.ndarray) -> int:
    """A matrix as plan.c lays it out in one chunk and one block: `kept` [rows, columns], `weights` uint32 alike."""
    counts = kept.sum(axis=1)
    order = np.argsort(counts, kind="stable").astype(np.uint16)
    lengths, rows = np.unique(counts, return_counts=True)
    entries = np.concatenate([*_in_order(kept, order, rows), np.zeros((2, 0), int)], axis=1)
    runs = np.stack([lengths, rows], axis=1).astype(np.uint32)
    segments = np.array([[0, len(runs), 0, 0]], np.uint32)
    columns, values = entries[1].astype(np.uint16), weights[entries[0], entries[1]]
    shape = (*kept.shape, kept.shape[1], kept.shape[0], 1, 1)  # rows, width, block, chunk, blocks, chunks
    pointers = [machine.put(part) for part in (segments, runs, order, columns, values)]
    return machine.put(struct.pack("<11q", *shape, *pointers))


def _in_order(kept: np.ndarray, order: np.ndarray, run_rows: np.ndarray) -> Iterator[np.ndarray]:
    """(row, column) of entries: four rows of equal length by turns, what is left of a run row by row."""
    start = 0
    for rows in run_rows:
        run, start = order[start : start + rows], start + rows
        whole = rows // GROUP * GROUP
        for group in [*run[:whole].reshape(-1, GROUP), *run[whole:, None]]:
            columns = np.stack([np.flatnonzero(kept[row]) for row in group], axis=1)
            yield np.stack([np.broadcast_to(group.astype(int), columns.shape).ravel(), columns.ravel()])


def fp32(machine: KernelMachine, isa: str, zeros: float, lanes: int) -> tuple[Executed, int]:
    """Multiply, check the product, and return what was executed and how many multiply-adds that were."""
    rng = np.random.default_rng(0)
    kept = rng.random((ROWS, COLUMNS)) >= zeros
    weights = np.where(kept, rng.standard_normal(kept.shape), 0).astype(np.float32)
    x, start = (rng.standard_normal(shape).astype(np.float32) for shape in ((COLUMNS, lanes), (ROWS,)))
    y = np.full((ROWS, lanes), np.nan, np.float32)
    plan = a_plan(machine, kept, weights.view(np.uint32))
    at = machine.put(y)
    executed = machine.call(machine.kernel(isa, MULTIPLY), plan, 0, machine.put(x), at, machine.put(start), lanes)
    expected = weights.astype(np.float64) @ x + start[:, None]
    np.testing.assert_allclose(machine.get(at, y), expected, rtol=1e-5, atol=1e-5)
    return executed, int(kept.sum()) * lanes


def int8(machine: KernelMachine, isa: str, zeros: float, lanes: int) -> tuple[Executed, int]:
    """The same with int8 in 1x4 blocks; the product is exact."""
    rng = np.random.default_rng(0)
    kept = rng.random((ROWS, COLUMNS)) >= zeros
    weights = np.where(kept[..., None], rng.integers(-127, 128, (*kept.shape, BLOCK)), 0).astype(np.int8)
    x = rng.integers(-127, 128, (COLUMNS, lanes, BLOCK)).astype(np.int8)
    start = rng.integers(-1000, 1000, ROWS).astype(np.int32)
    y = np.full((ROWS, lanes), -1, np.int32)
    plan = a_plan(machine, kept, weights.view(np.uint32)[..., 0])
    at = machine.put(y)
    executed = machine.call(machine.kernel(isa, MULTIPLY_INT8), plan, 0, machine.put(x), at, machine.put(start), lanes)
    expected = np.einsum("rcb,clb->rl", weights.astype(np.int32), x.astype(np.int32)) + start[:, None]
    np.testing.assert_array_equal(machine.get(at, y), expected)
    return executed, int(kept.sum()) * lanes * BLOCK


@dataclass(frozen=True)
class Case:
    """A kernel with tiles of so many tokens, and the most instructions it may take for a multiply-add, by zeros.

    The bounds are a tenth above what clang 22 (ziglang 0.17) makes. Without vectors the fewest would be 2 for fp32.
    """

    kernel: Callable[[KernelMachine, str, float, int], tuple[Executed, int]]
    isa: str
    lanes: int
    most: tuple[float, float, float]

    def __str__(self) -> str:
        return f"{self.kernel.__name__}-{self.isa}-{self.lanes}"


CASES = (
    Case(fp32, "neon", 16, (0.69, 0.86, 1.01)),
    Case(fp32, "neon", 64, (0.55, 0.56, 0.73)),
    Case(fp32, "neondot", 64, (0.55, 0.56, 0.73)),
    Case(int8, "neon", 16, (0.55, 0.64, 0.66)),
    Case(int8, "neon", 64, (0.57, 0.57, 0.61)),
    Case(int8, "neondot", 16, (0.19, 0.24, 0.27)),
    Case(int8, "neondot", 64, (0.14, 0.15, 0.19)),
)
every_case = pytest.mark.parametrize("case", CASES, ids=str)


@pytest.fixture
def machine() -> KernelMachine:
    return KernelMachine(library_path("aarch64", "Linux"))


@every_case
@pytest.mark.parametrize("zeros", ZEROS)
def test_a_product_takes_no_more_instructions_than_before(machine: KernelMachine, case: Case, zeros: float) -> None:
    executed, products = case.kernel(machine, case.isa, zeros, case.lanes)
    assert executed.instructions <= case.most[ZEROS.index(zeros)] * products


@every_case
@pytest.mark.parametrize("zeros", ZEROS)
def test_every_multiplication_is_of_a_whole_register(machine: KernelMachine, case: Case, zeros: float) -> None:
    executed, products = case.kernel(machine, case.isa, zeros, case.lanes)
    if case.kernel is fp32:
        expected = {"fmla": products / LANES, "sdot": 0, "smull": 0}
    elif case.isa == "neondot":
        expected = {"fmla": 0, "sdot": products / (LANES * BLOCK), "smull": 0}
    else:
        expected = {"fmla": 0, "sdot": 0, "smull": products / (2 * LANES)}  # 8 products of 16 bits
    assert {name: getattr(executed, name) for name in expected} == expected


@every_case
def test_zeros_are_skipped(machine: KernelMachine, case: Case) -> None:
    full, most = (case.kernel(machine, case.isa, zeros, case.lanes)[0].instructions for zeros in (0.0, 0.9))
    assert most < full / 7, "a tenth of the work, and what the rows themselves take"


def test_the_same_call_takes_the_same_instructions(machine: KernelMachine) -> None:
    assert fp32(machine, "neon", 0.5, 16) == fp32(machine, "neon", 0.5, 16)
