"""Target: what is asked of the sparse operators, and whether what was measured meets it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.suites.sparse_engines.encoders import ENCODERS, dense_encoder_bytes
from benchmarks.suites.sparse_engines.names import BLOCK_INT8, DEEPSPARSE, MNN, SPARSE_FP32

__all__ = ["LENGTH", "SHORT_SPARSITY", "SHORT_SPEEDUP", "TARGETS", "Target", "Verdict", "verdicts"]

LENGTH = 128  # tokens, unless a target says otherwise
KERNEL_SPEEDUP = {0.8: 3.3, 0.9: 5.5, 0.95: 9.0}  # over onnxruntime's dense fp32
BREAK_EVEN = 0.55  # share of zeros
MODEL_SPEEDUP = {0.8: 2.6, 0.9: 4.2, 0.95: 6.0}  # over onnxruntime fp32, 768 wide
OVER_DEEPSPARSE = 1.1
OVER_MNN = 2.0
SHORT_SPARSITY = 0.9
SHORT_SPEEDUP = {16: 2.5, 64: 3.5}  # over onnxruntime fp32, by tokens
BLOCK_INT8_OVER_FP32 = 1.5
BLOCK_SPARSITIES = (0.8, 0.9)
TWO_THREADS = 1.7  # over one
LOGITS = 1e-4  # largest difference from PyTorch's
FILE_SPARSITY = 0.9
FILE_SHARE = 0.25  # of the dense encoder weights in fp32
SPARSITIES = tuple(MODEL_SPEEDUP)
WIDE = tuple(name for name, shape in ENCODERS.items() if shape.hidden_size == 768)

Entry = Mapping[str, Any]
Values = Iterator[tuple[str, float]]


class Findings:
    """What was measured, by what it is about."""

    def __init__(self, lists: Mapping[str, Sequence[Entry]]) -> None:
        self.kernels, self.break_even = lists["kernels"], lists["break_even"]
        self._rows = {_key(row["contestant"], row): row for row in lists["rows"]}

    def rows(self, contestant: str, tokens: int = LENGTH, **wanted: Any) -> Iterator[Entry]:
        """The rows of a contestant at so many tokens, in the order measured."""
        for (name, _, length, *_), row in self._rows.items():
            if name == contestant and length == tokens and all(row[field] == x for field, x in wanted.items()):
                yield row

    def beside(self, row: Entry, contestant: str, **other: Any) -> Entry | None:
        """The row of another contestant, or at another setting, that is otherwise like `row`."""
        return self._rows.get(_key(contestant, {**row, **other}))


def _key(contestant: str, row: Entry) -> tuple[Any, ...]:
    return contestant, row["model"], row["tokens"], row["threads"], row["sparsity"]


@dataclass(frozen=True)
class Target:
    """A number asked for; `values` finds what was measured, each with where."""

    what: str
    asked: float
    values: Callable[[Findings], Values]
    at_most: bool = False
    unit: str = "x"

    def meets(self, value: float) -> bool:
        """Whether a value is as good as asked."""
        return value <= self.asked if self.at_most else value >= self.asked

    def text(self, value: float) -> str:
        """The value as it is printed."""
        return {"x": f"{value:.2f}x", "share": f"{value:.1%}", "number": f"{value:.1e}"}[self.unit]


@dataclass(frozen=True)
class Verdict:
    """What was measured for a target: every value by where."""

    target: Target
    values: Mapping[str, float]

    @property
    def met(self) -> bool | None:
        """Whether every value meets the target; None when nothing was measured."""
        return all(map(self.target.meets, self.values.values())) if self.values else None

    @property
    def worst(self) -> tuple[str, float]:
        """Where it is hardest, and the value there."""
        return (max if self.target.at_most else min)(self.values.items(), key=lambda item: item[1])

    def as_json(self) -> dict[str, Any]:
        """For the file."""
        target = self.target
        sense = "at most" if target.at_most else "at least"
        return {"what": target.what, sense: target.asked, "met": self.met, "measured": dict(self.values)}


def verdicts(lists: Mapping[str, Sequence[Entry]]) -> list[Verdict]:
    """Hold "rows", "kernels" and "break_even" against every target."""
    findings = Findings(lists)
    return [Verdict(target, dict(target.values(findings))) for target in TARGETS]


def _kernel(sparsity: float) -> Callable[[Findings], Values]:
    def values(found: Findings) -> Values:
        yield from ((x["shape"], x["speedup_over_dense"]) for x in found.kernels if x["sparsity"] == sparsity)

    return values


def _break_even(found: Findings) -> Values:
    """Nothing found counts as all zeros: it never pays."""
    yield from ((x["shape"], 1.0 if x["sparsity"] is None else x["sparsity"]) for x in found.break_even)


def _whole(tokens: int, sparsity: float, models: Sequence[str]) -> Callable[[Findings], Values]:
    def values(found: Findings) -> Values:
        for row in found.rows(SPARSE_FP32, tokens, sparsity=sparsity, threads=1):
            if row["model"] in models:
                yield row["model"], row["speedup_over_onnxruntime_fp32"]

    return values


def _against(contestant: str, other: str, sparsity: float) -> Callable[[Findings], Values]:
    def values(found: Findings) -> Values:
        for row in found.rows(contestant, sparsity=sparsity):
            if (ratio := row["speedup_over"].get(other)) is not None:
                yield f"{row['model']}, {_threads(row)}", ratio["speedup"]

    return values


def _two_threads(found: Findings) -> Values:
    for row in found.rows(SPARSE_FP32, threads=1):
        if (two := found.beside(row, SPARSE_FP32, threads=2)) is not None:
            yield f"{row['model']}, {row['sparsity']:.0%}", row["median_ms"] / two["median_ms"]


def _logits(found: Findings) -> Values:
    for tokens in (*SHORT_SPEEDUP, LENGTH):
        for row in found.rows(SPARSE_FP32, tokens):
            where = f"{row['model']}, {tokens} tokens, {row['sparsity']:.0%}, {_threads(row)}"
            yield where, row["max_abs_logit_difference_to_torch"]


def _file(found: Findings) -> Values:
    for row in found.rows(SPARSE_FP32, sparsity=FILE_SPARSITY, threads=1):
        yield row["model"], row["file_bytes"] / dense_encoder_bytes(row["model"])


def _threads(row: Entry) -> str:
    return f"{row['threads']} thread{'s' if row['threads'] > 1 else ''}"


TARGETS = (
    *(Target(f"kernel over onnxruntime dense fp32, {s:.0%}, tiled", x, _kernel(s)) for s, x in KERNEL_SPEEDUP.items()),
    Target("zeros at which the kernel breaks even, tiled", BREAK_EVEN, _break_even, at_most=True, unit="share"),
    *(
        Target(f"model over onnxruntime fp32, {s:.0%}, 768 wide", x, _whole(LENGTH, s, WIDE))
        for s, x in MODEL_SPEEDUP.items()
    ),
    *(
        Target(f"model over DeepSparse, {s:.0%}", OVER_DEEPSPARSE, _against(SPARSE_FP32, DEEPSPARSE, s))
        for s in SPARSITIES
    ),
    *(Target(f"model over MNN sparse, {s:.0%}", OVER_MNN, _against(SPARSE_FP32, MNN, s)) for s in SPARSITIES),
    *(
        Target(f"model over onnxruntime fp32, 90%, {n} tokens", x, _whole(n, SHORT_SPARSITY, tuple(ENCODERS)))
        for n, x in SHORT_SPEEDUP.items()
    ),
    *(
        Target(f"int8 in 1x4 blocks over fp32, {s:.0%}", BLOCK_INT8_OVER_FP32, _against(BLOCK_INT8, SPARSE_FP32, s))
        for s in BLOCK_SPARSITIES
    ),
    Target("two threads over one", TWO_THREADS, _two_threads),
    Target("largest difference of logits from PyTorch's", LOGITS, _logits, at_most=True, unit="number"),
    Target("ONNX file at 90% over dense encoder weights", FILE_SHARE, _file, at_most=True, unit="share"),
)
