"""Advice for another runtime alone: its own latencies, and zeros where its own kernels gain by them."""

from __future__ import annotations

from pathlib import Path

import made_setting as made
import pytest
from test_advice_across import DAY, SHAPE

from benchmarks.errors import TrimfitError
from optimizer.advice.directions import directions
from optimizer.advice.menu import cannot_pay, menu
from optimizer.advice.places import place_of
from optimizer.advice.site import Site
from optimizer.progress import Silent

OTHER = "mnn-cpu"


def site(tmp_path: Path, gain: dict[str, float]) -> Site:
    made.profile(OTHER, gain).with_conditions(DAY).save(tmp_path / "zen" / f"{OTHER}.json")
    place = place_of(str(tmp_path / "zen"), OTHER)
    return place.site(SHAPE, place.workload(SHAPE, 1, 8, None), Silent())


def test_zeros_are_advised_in_the_precision_in_which_it_gains_by_them(tmp_path: Path) -> None:
    found = site(tmp_path, {"fp32": 0.0, "int8": 1.0})
    assert found.precisions == ("fp32", "int8")
    assert {way.precision for way in menu(found) if way.sparsity} == {"fp32"}
    assert {way.runtime for way in menu(found)} == {OTHER}
    zeros = found.with_zeros(found.dense("fp32"), 0.9)
    assert zeros.pattern == "unstructured"
    assert found.forecast(zeros).ms == pytest.approx(0.2 * found.teacher.ms)
    assert [d.name for d in directions(found) if d.name.startswith("zeros")] == ["zeros fp32"]
    refused = cannot_pay(found, [])
    assert any(line.startswith("unstructured 90 % int8") for line in refused)
    assert not any(line.startswith("unstructured 90 % fp32") for line in refused)


def test_where_it_gains_nothing_it_is_said_that_the_sparse_operators_are_anothers(tmp_path: Path) -> None:
    found = site(tmp_path, {"fp32": 1.0, "int8": 1.0})
    assert found.sparse is None
    assert not [way for way in menu(found) if way.sparsity]
    assert "they are onnxruntime's, and mnn-cpu was asked for" in " ".join(cannot_pay(found, []))


def test_what_cannot_be_looked_at_alone_is_refused() -> None:
    with pytest.raises(TrimfitError, match=r"got --runtime onnxruntime-cpu\+sparse, expected another"):
        place_of("local", made.SPARSE)
    with pytest.raises(TrimfitError, match="got --runtime mnn-cpu for catalog:raspberry-pi-4, expected none"):
        place_of("catalog:raspberry-pi-4", OTHER)
