"""ARM without a device: the board that others measured, and from which zeros on engines may gain on which core."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.errors import TrimfitError
from benchmarks.workload import Workload
from hardware_profiles import EncoderShape, StoredDevice
from hardware_profiles.catalog import (
    CORE_FAMILIES,
    catalog_names,
    catalog_profiles,
    catalog_published,
    core_family,
    is_published,
    unverified_zeros,
)

RESULT = Path(__file__).parents[2] / "benchmarks" / "results" / "raspberry_pi_4.json"
MINILM = EncoderShape.uniform(384, 32, 6, 12, 1536)


# zeros


@pytest.mark.parametrize(
    ("core", "engine", "pattern", "above"),
    [
        ("Cortex-A72", "MNN", "unstructured", 0.66),  # the upper end of what is modelled
        ("Cortex-A72", "XNNPACK", "unstructured", 2 / 3),  # the engine's threshold
        ("Cortex-A72", "MNN", "block", 0.30),
        ("Cortex-A55", "MNN", "block", 0.41),
        ("Cortex-A78", "MNN", "unstructured", 0.60),
    ],
)
def test_zeros_are_named_above_the_engines_threshold_and_the_upper_end_of_the_model(core, engine, pattern, above):
    found = {(zeros.engine, zeros.pattern): zeros for zeros in unverified_zeros(core_family(core))}
    assert found[engine, pattern].above == above
    assert str(found[engine, pattern]).endswith(f"on {core}): unverified on device")


def test_plain_onnxruntime_and_unknown_cores_get_no_zeros():
    assert "onnxruntime-cpu" not in {zeros.engine for zeros in unverified_zeros(core_family("Cortex-A72"))}
    assert unverified_zeros(core_family("Cortex-M4")) == ()


def test_every_core_that_was_modelled_has_intervals_and_only_those_with_dot_products_are_compared_with_int8():
    names = [core.name for core in CORE_FAMILIES]
    assert names == list(dict.fromkeys(names))
    assert core_family("cortex-a53") == core_family("Cortex-A53")
    assert {core.name for core in CORE_FAMILIES if core.against_int8 is None} == {"Cortex-A53", "Cortex-A72"}
    for core in CORE_FAMILIES:
        assert 0 <= core.block4.low < core.block4.high <= core.unstructured.high < 1


def test_a_core_alone_is_refused_with_what_is_modelled_of_it():
    with pytest.raises(TrimfitError, match=r"cortex-a76, which is modelled and holds no milliseconds .* above 66 %"):
        catalog_profiles("cortex-a76")


# the board


def test_the_board_is_in_the_catalog_and_is_no_profile():
    assert "raspberry-pi-4" in catalog_names()
    assert is_published("catalog:raspberry-pi-4")
    assert not is_published("catalog:cortex-a76")
    with pytest.raises(TrimfitError, match="which is published figures, expected a profile: `trimfit advise`"):
        StoredDevice.open("catalog:raspberry-pi-4")


def test_the_board_holds_what_the_study_fitted():
    model, result = catalog_published("raspberry-pi-4"), json.loads(RESULT.read_text())
    costs = result["costs_ms"]["encoder"]
    names = ("ffn_ms_per_gflop", "attention_ms_per_gflop", "head_ms", "constant_ms")
    assert [getattr(model.costs, name) for name in names] == list(costs.values())
    assert model.int8.model_dump() == result["interval"]["int8"]
    assert model.residual == result["interval"]["residual"]
    assert model.device.microarchitecture == model.core == "Cortex-A72"
    assert [source.name for source in model.sources] == ["HAT", "ncnn"]


def test_the_board_predicts_intervals_for_a_minilm():
    model, workload = catalog_published("raspberry-pi-4"), Workload(seq_len=128, threads=4)
    fp32, int8 = (model.predict(MINILM, workload, precision) for precision in model.precisions)
    assert fp32.low_ms < int8.ms < fp32.ms < fp32.high_ms
    assert fp32.high_ms / fp32.low_ms > model.calibration.engine_factor**2
    assert any("384 lies outside" in caution for caution in model.cautions(MINILM))
