"""The study of a GPU: what it says without one, that all of it runs (a CPU in its place), and that it goes on."""

from __future__ import annotations

import json

import numpy as np
import pytest
from rich.console import Console

from benchmarks.errors import TrimfitError
from benchmarks.suites.gpu import __main__ as suite
from benchmarks.suites.gpu.held_out import aligned, held_out_of_gpu
from benchmarks.suites.gpu.result import Result
from benchmarks.suites.gpu.sizes import BERT_BASE, TINY
from benchmarks.suites.gpu.tables import tables
from hardware_profiles import EncoderShape


def test_without_a_gpu_it_says_what_is_missing_in_one_line(tmp_path):
    with pytest.raises(SystemExit) as caught:
        suite.main(["--json", str(tmp_path / "gpu.json")])
    assert "\n" not in str(caught.value)
    assert "--device" in str(caught.value)
    assert not (tmp_path / "gpu.json").exists()


def test_an_unknown_part_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="got --parts peeks, expected some of peaks, contestants"):
        suite.main(["--json", str(tmp_path / "gpu.json"), "--dry-run", "--parts", "peeks"])


def test_all_of_it_runs_with_a_cpu_in_the_place_of_a_gpu(tmp_path, capsys):
    path = tmp_path / "gpu.json"
    suite.main(["--json", str(path), "--dry-run"])
    found = json.loads(path.read_text())
    assert set(found["parts"]) == set(suite.PARTS)
    assert found["conditions"]["provenance"] == "measured_proxy"
    assert "pip install" in found["conditions"]["refused"]["onnxruntime-tensorrt"] or "stood in for" in str(found)
    contestants = found["parts"]["contestants"]["batch 1"]
    assert not [entry for entry in contestants.values() if "failed" in entry]
    fused = contestants["onnxruntime-cuda fp16, stock"]
    assert fused["nodes"]["CPUExecutionProvider"]["MultiHeadAttention"] == TINY.depth
    assert fused["share_of_peak"] > 0
    prediction = found["parts"]["prediction"]["batch 2"]
    assert (prediction["models"], len(found["parts"]["prediction"])) == (TINY.models, len(TINY.profiled))
    students = found["parts"]["students"]["batch 1"]["students"]
    assert students["dense"]["speedup_versus_dense"] == 1
    assert all(student["weights_left"] < 1 for name, student in students.items() if name != "dense")
    assert set(found["parts"]["zeros"]["batch 1"]["speedup"]) == {"eager", "CUDA graphs"}
    advice = found["parts"]["advice"]["batch 1"]
    assert advice["device"]["provenance"] == "measured_proxy"
    assert {way["way"]["precision"] for way in advice["ways"]} == {"fp32", "fp16"}
    before = path.read_text()
    suite.main(["--json", str(path), "--dry-run"])  # nothing is left to do
    assert path.read_text() == before
    assert "Students" in capsys.readouterr().out


def test_when_the_time_is_up_nothing_new_is_begun_and_the_same_command_goes_on(tmp_path):
    path = tmp_path / "gpu.json"
    with pytest.raises(SystemExit) as caught:
        suite.main(["--json", str(path), "--dry-run", "--minutes", "0", "--parts", "peaks"])
    assert caught.value.code == suite.MORE_TO_DO
    suite.main(["--json", str(path), "--dry-run", "--parts", "peaks"])
    assert "memory" in json.loads(path.read_text())["parts"]["peaks"]


def test_a_file_of_other_conditions_is_refused(tmp_path):
    path = tmp_path / "gpu.json"
    Result(path, {"gpu": "Paper"}).step("peaks", "memory", dict)
    with pytest.raises(TrimfitError, match="measured with gpu Paper, expected Scissors: name another file"):
        Result(path, {"gpu": "Scissors"})


def test_a_step_that_is_done_is_not_done_again(tmp_path):
    result = Result(tmp_path / "gpu.json", {})
    assert result.step("peaks", "memory", lambda: 1)
    assert Result(tmp_path / "gpu.json", {}).step("peaks", "memory", pytest.fail)


def test_sixty_models_at_batches_1_16_and_128_half_of_them_in_fp16():
    groups = [BERT_BASE.group(batch) for batch in BERT_BASE.profiled]
    models = [model for group in groups for model in held_out_of_gpu(group)]
    assert [group.workload.batch for group in groups] == [1, 16, 128]
    assert len(models) == len({model.shape for model in models}) == 60
    assert sum(model.precision == "fp16" for model in models) == 30
    assert len({group.label for group in groups}) == 3


def test_widths_are_those_that_tensor_cores_take():
    layers = [{"heads": 3, "ffn": ffn} for ffn in (0, 1, 23, 25, 3071)]
    found = aligned(EncoderShape(hidden_size=768, head_size=64, layers=layers))
    assert [layer.ffn for layer in found.layers] == [0, 16, 16, 32, 3072]


def test_what_failed_is_shown_with_its_reason():
    failed = {"batch 1": {"torch-cuda fp16, torch.compile and CUDA graphs": {"failed": "no compiler"}}}
    console = Console(width=150, record=True, quiet=True)
    with console.capture() as shown:
        console.quiet = False
        for table in tables({"contestants": failed}):
            console.print(table)
    assert "failed: no compiler" in shown.get()


def test_every_batch_up_to_256_is_asked_for():
    assert (min(BERT_BASE.batches), max(BERT_BASE.batches)) == (1, 256)
    assert np.all(np.diff(BERT_BASE.batches) > 0)
