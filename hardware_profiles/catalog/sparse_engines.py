"""SparseEngine: engines that have sparse kernels on ARM, and from which share of zeros on they use them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

__all__ = ["SPARSE_ENGINES", "SparseEngine"]


class SparseEngine(BaseModel):
    """`thresholds` by pattern ("unstructured", "block": four rows or more): `published`, tuned by the authors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    thresholds: dict[str, float]
    source: str


SPARSE_ENGINES: tuple[SparseEngine, ...] = (
    SparseEngine(
        name="MNN",
        thresholds={"unstructured": 0.60, "block": 0.30},
        source="MNN, AddSparseInfo.cpp: 60 % unstructured, 30 % in blocks of four and more",
    ),
    SparseEngine(
        name="XNNPACK",
        thresholds={"unstructured": 2 / 3},
        source="XNNPACK, src/subgraph.c: zeros * 3 > params * 2",
    ),
    SparseEngine(
        name="onnxruntime-cpu+sparse",
        thresholds={"unstructured": 0.60},
        source="none of its own, it is measured on the device: the lowest that others tuned on ARM",
    ),
)
"""Plain onnxruntime has none: it multiplies by zeros (its maintainers, onnxruntime issue 2121)."""
