"""A student that MNN runs: converted, checked against PyTorch, deployed beside its ONNX file, run and benchmarked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import made_setting as made
import numpy as np
import pytest
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from benchmarks.errors import TrimfitError
from hardware_profiles.runtimes import MnnCpu, OnnxRuntimeCpu, refused
from optimizer.artefact import Artefact, build, logits_of
from optimizer.deployment import Deployment
from optimizer.deployment.folder import stage_files
from optimizer.inference import predict

WHY_NOT = refused().get("mnn-cpu", "")
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)


@pytest.fixture
def model(make_classifier: Callable[..., PreTrainedModel]) -> PreTrainedModel:
    return make_classifier()


def built(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, precision: str, folder: Path) -> Artefact:
    rows = made.rows(model)
    return build(model, tokenizer, MnnCpu(), precision, folder, rows, rows)


@pytest.mark.parametrize("precision", MnnCpu.precisions)
def test_what_is_built_answers_as_pytorch_does(model, tokenizer, tmp_path: Path, precision: str) -> None:
    artefact = built(model, tokenizer, precision, tmp_path / "export")
    assert artefact.path == tmp_path / "export" / f"{precision}.mnn"
    assert artefact.parity.max_abs_logit_difference <= MnnCpu.logit_tolerance
    rows = made.rows(model)
    expected = predict(model, rows)
    answers = logits_of(MnnCpu().at(precision), artefact.path, rows, 4)
    allowed = MnnCpu.logit_tolerance if precision == "fp32" else 0.05 * float(np.abs(expected).max())
    np.testing.assert_allclose(answers, expected, atol=allowed)


def test_an_onnx_file_that_lies_is_found_though_mnn_runs_another(
    model, tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = OnnxRuntimeCpu.session

    class Liar:
        def __init__(self, session: object) -> None:
            self.get_inputs, self.answer = session.get_inputs, session.run

        def run(self, *asked: object) -> list[np.ndarray]:
            return [values + 1 for values in self.answer(*asked)]

    monkeypatch.setattr(OnnxRuntimeCpu, "session", lambda *asked: Liar(honest(*asked)))
    with pytest.raises(TrimfitError, match="the ONNX file gives row"):
        built(model, tokenizer, "int8", tmp_path / "export")


@pytest.fixture
def deployed(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> Path:
    artefact = built(model, tokenizer, "int8", tmp_path / "export")
    out = tmp_path / "out"
    stage_files(
        out,
        model=model,
        tokenizer=tokenizer,
        onnx=artefact.path,
        fp32=artefact.fp32,
        runtime=MnnCpu().at("int8"),
        device=made.DEVICE,
        workload=made.WORKLOAD,
        longest=16,
        measurements=[],
    )
    return out


def alone(*command: object, folder: Path) -> subprocess.CompletedProcess:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, timeout=120, cwd=folder,
        env=environment, check=False,
    )  # fmt: skip


def test_the_folder_holds_both_forms_and_says_which_is_deployed(deployed: Path) -> None:
    note = json.loads((deployed / "runtime.json").read_text())
    assert (note["runtime"], note["model"], note["options"]) == ("mnn-cpu", "model.mnn", {"memory": "low"})
    deployment = Deployment(deployed)
    assert (deployment.onnx.name, deployment.deployed.name) == ("model.onnx", "model.mnn")
    names = [entry.name for entry in OnnxRuntimeCpu().session(deployment.onnx, 1).get_inputs()]
    assert names == [entry.name for entry in MnnCpu().session(deployment.deployed, 1).get_inputs()]


def test_run_py_answers_wherever_the_folder_lies(deployed: Path, model, tokenizer, tmp_path: Path) -> None:
    elsewhere = deployed.rename(tmp_path / "elsewhere")
    texts = ("the film was good", "dull")
    done = alone(elsewhere / "run.py", *texts, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    answered = [line.split("\t")[0] for line in done.stdout.splitlines()]
    expected = [model(**tokenizer(text, return_tensors="pt")).logits.argmax().item() for text in texts]
    assert answered == [model.config.id2label[index] for index in expected]


def test_both_runtimes_are_benchmarked_in_turns_on_one_file(deployed: Path) -> None:
    done = alone(
        "-c", "from optimizer.cli import main; main()", "benchmark", deployed / "model.onnx", "--seq-len", 8,
        "--threads", 1, "--runtime", "onnxruntime-cpu", "--runtime", "mnn-cpu:int8", "--json", folder=Path.cwd(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [m["subject"]["runtime"] for m in found["measurements"]] == ["onnxruntime-cpu", "mnn-cpu"]
    assert [file["name"] for file in found["files"]] == ["model onnxruntime-cpu", "model mnn-cpu int8"]
    assert [file["precision"] for file in found["files"]] == ["fp32", "int8"]
