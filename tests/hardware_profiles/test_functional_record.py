"""What was run in an emulator is recorded without a time, and no time can be put in."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from hardware_profiles.functional_record import FunctionalRecord, QuantumAgreement

FACTS = {
    "processor": "cortex-a55",
    "emulator": "qemu-aarch64 10.0.2",
    "runtime": "onnxruntime 1.32.0",
    "reference": "x86_64, onnxruntime 1.32.0",
    "model": "model.onnx",
    "sha256": "0" * 64,
    "precision": "int8-static",
    "rows": 4,
    "max_abs_difference": 0.0,
    "max_relative_difference": 0.0,
}
QUANTA = {"tensors": 2, "values": 100, "differing": 3, "first": 1, "most": 1}


def test_a_record_says_that_it_is_of_an_emulator_and_survives_json() -> None:
    record = FunctionalRecord(**FACTS, quanta=QuantumAgreement(**QUANTA))
    assert record.provenance == "emulated_functional"
    assert FunctionalRecord.model_validate_json(record.model_dump_json()) == record


@pytest.mark.parametrize("name", ["latency_ms", "median", "seconds", "ms", "p90", "samples", "speedup", "wall_s"])
def test_a_record_with_a_time_is_rejected(name: str) -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        FunctionalRecord(**FACTS, **{name: 1.5})
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        FunctionalRecord.model_validate({**FACTS, "quanta": {**QUANTA, name: 1}})


def test_its_only_numbers_with_a_fraction_are_differences() -> None:
    schema = FunctionalRecord.model_json_schema()
    numbers = [name for name, at in schema["properties"].items() if '"number"' in json.dumps(at)]
    assert numbers == ["max_abs_difference", "max_relative_difference", "max_quantisation_difference"]
    assert '"number"' not in json.dumps(schema["$defs"])


@pytest.mark.parametrize("word", ["measured_device", "measured_proxy", "modelled", "published"])
def test_it_cannot_pass_for_anything_else(word: str) -> None:
    with pytest.raises(ValidationError, match="emulated_functional"):
        FunctionalRecord(**FACTS, provenance=word)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -1.0])
def test_a_difference_is_a_finite_number(wrong: float) -> None:
    with pytest.raises(ValidationError):
        FunctionalRecord(**{**FACTS, "max_abs_difference": wrong})
