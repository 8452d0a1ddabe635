"""A student as it is deployed gives the same answers on ARM: the aarch64 wheel on emulated processors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.errors import TrimfitError
from benchmarks.suites.emulated.__main__ import PROCESSORS, Subjects
from benchmarks.suites.emulated.machine import EmulatedMachine
from benchmarks.suites.emulated.student import PRECISIONS, deploy_student
from hardware_profiles.functional_record import FunctionalRecord

FP32 = 1e-5  # of the largest logit
FLIPS = 2  # times what quantising itself moved the logits: two roundings of one model are no further apart
FILES = {f"{precision}{suffix}" for precision in PRECISIONS for suffix in (".onnx", "-mobile.ort")}


@pytest.fixture(scope="module")
def subjects(emulated_machine: EmulatedMachine, tmp_path_factory: pytest.TempPathFactory) -> Subjects:
    try:
        student = deploy_student(tmp_path_factory.mktemp("student"))
    except TrimfitError as error:
        pytest.skip(str(error))
    return Subjects(tmp_path_factory.mktemp("models"), student)


@pytest.mark.parametrize("processor", PROCESSORS)
def test_a_deployed_student_computes_the_same_on_arm(
    emulated_machine: EmulatedMachine, subjects: Subjects, tmp_path: Path, processor: str
) -> None:
    records = {record.model: record for record in subjects.records(emulated_machine, processor, tmp_path / "out")}
    assert set(records) == FILES
    for record in records.values():
        kept = json.loads(record.model_dump_json())
        assert FunctionalRecord.model_validate(kept) == record
        assert kept["provenance"] == "emulated_functional"
        assert kept["processor"] == processor
    for name in ("fp32.onnx", "fp32-mobile.ort"):
        assert records[name].max_relative_difference <= FP32
    quanta = records["int8-static.onnx"].quanta
    assert quanta.first <= 1, "equal activations are rounded to the same integers, or to the next ones"
    for record in records.values():
        if record.precision == "int8-static" and not quanta.differing:
            assert record.max_relative_difference <= FP32, "what is computed from the same integers is the same"
        elif record.precision != "fp32":
            assert record.max_abs_difference <= FLIPS * record.max_quantisation_difference
