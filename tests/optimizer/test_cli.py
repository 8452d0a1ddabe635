"""The command line on bad input: one line that says what to do next, exit code 2, nothing written."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from benchmarks.errors import TrimfitWarning
from optimizer import cli
from optimizer.cli import main

ROWS = "".join(json.dumps({"text": f"the film was {i}", "label": ["bad", "good"][i % 2]}) + "\n" for i in range(200))


def trimfit(*arguments: object, timeout: float = 120) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", "from optimizer.cli import main; main()", *map(str, arguments)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "COLUMNS": "200"}
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=environment, check=False)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.jsonl"
    path.write_text(ROWS)
    return path


def refused(*arguments: object, out: Path) -> str:
    done = trimfit("optimize", *arguments, "--out", out)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert not out.exists() or not any(out.iterdir())
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("trimfit:")]
    return line


def test_bad_data_is_refused_in_one_line(encoder_folder: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    line = refused("--model", encoder_folder, "--data", data, "--label", "stars", out=out)
    assert "no column 'stars', its columns are text, label" in line
    assert "no such file or folder" in refused("--model", encoder_folder, "--data", tmp_path / "nowhere", out=out)


def test_bad_models_are_refused_in_one_line(encoder_folder: Path, data: Path, tmp_path: Path) -> None:
    out, weights = tmp_path / "out", encoder_folder / "model.safetensors"
    saved = weights.read_bytes()
    weights.write_bytes(saved[: len(saved) // 2])
    assert "is broken or truncated" in refused("--model", encoder_folder, "--data", data, out=out)
    weights.unlink()
    assert "holds no weights" in refused("--model", encoder_folder, "--data", data, out=out)
    torch.save({"weight": print}, encoder_folder / "pytorch_model.bin")
    assert "pickle" in refused("--model", encoder_folder, "--data", data, out=out)
    config = json.loads((encoder_folder / "config.json").read_text())
    (encoder_folder / "config.json").write_text(json.dumps({**config, "model_type": "gpt2"}))
    save_file({"weight": torch.zeros(1)}, weights)
    line = refused("--model", encoder_folder, "--data", data, out=out)
    assert "use one of bert, distilbert, roberta, xlm-roberta, electra" in line


def test_labels_that_do_not_match_are_named(classifier_folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text(ROWS.replace('"good"', '"superb"'))
    line = refused("--model", classifier_folder, "--data", data, out=tmp_path / "out")
    assert "the model's labels are bad, mixed, good, the data's are bad, superb" in line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--speedup", "0.5"), "speed-up must be above 1"),
        (("--speedup", "3", "--latency", "4"), "expected one target"),
        (("--fast", "--thorough"), "expected one of them"),
        (("--device", "serial:pi"), "expected local, ssh://... or adb://..."),
        (("--device", "ssh://pi@nowhere.invalid"), "got no address for nowhere.invalid"),
        (("--device", "catalog:zen5"), "which is a profile, expected local"),
        (("--device", "local:abacus"), "got device local:abacus, expected local, or with one of"),
        (("--metric", "f1"), "expected one of accuracy"),
        (("--precision", "fp64"), "got --precision fp64, expected one of fp32, int8"),
        (("--vocabulary", "half"), "got --vocabulary half, expected one of keep, trim"),
        (("--vocabulary", "keep", "--keep-vocabulary", "words.txt"), "which keeps all: give one of them"),
        (("--vocabulary", "trim"), "got a WordLevel tokenizer, expected WordPiece or Unigram"),
        (("--keep-vocabulary", "words.txt"), "no such file: words.txt: give --keep-vocabulary a text or data file"),
        (("--also-test", "shop"), "shop is no file or folder: give --also-test a data file"),
        (("--distill", "hinton"), "got --distill hinton, expected one of soft-targets, distilbert, tinybert"),
        (("--importance", "luck"), "got --importance luck, expected one of second-order, fisher, taylor, magnitude"),
        (("--teacher", "answers.csv"), "no such file: answers.csv: give --teacher an address"),
        (("--teacher", "https://x.invalid/v1"), "a chat API needs the name of a model: give --teacher-model"),
        (("--teacher-rows", "9"), "got --teacher-rows without --teacher, expected both"),
        (("--labels", "bad,good"), "got labels without a teacher"),
        (("--teacher", "http://127.0.0.1:9", "--labels", "bad"), "expected two or more different ones"),
        (("--teacher", "http://127.0.0.1:9"), "http://127.0.0.1:9 cannot be reached (Connection refused)"),
        (("--seq-len", "median"), "got --seq-len median, expected a whole number of tokens above 0, or data"),
        (("--seq-len", "100"), "--seq-len 100 is more than the 32 tokens the model takes"),
    ],
)
def test_bad_options_are_refused_in_one_line(
    encoder_folder: Path,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    options: tuple[str, ...],
    message: str,
) -> None:
    """In this process: one of its own would take seconds to start for each."""
    out = tmp_path / "out"
    asked = ["optimize", "--model", encoder_folder, "--data", data, *options, "--out", out]
    monkeypatch.setattr(sys, "argv", ["trimfit", *map(str, asked)])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert not out.exists()
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("trimfit:")]
    assert message in line


def test_a_warning_of_our_own_is_one_line_and_others_are_as_they_were(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    others: list[str] = []
    monkeypatch.setattr(cli, "_show_warning", lambda message, *_, **__: others.append(str(message)))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = cli._warn
        warnings.warn("measuring anew", TrimfitWarning, stacklevel=1)
        warnings.warn("something else", stacklevel=1)
    assert capsys.readouterr().err.splitlines() == ["trimfit: measuring anew"]
    assert others == ["something else"]


def test_a_report_of_something_else_is_refused(tmp_path: Path) -> None:
    done = trimfit("report", tmp_path)
    assert done.returncode == 2
    assert "manifest.json" in done.stderr
    assert "Traceback" not in done.stderr


def test_benchmarking_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_text("not a model")
    done = trimfit("benchmark", tmp_path / "model.onnx")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "model.onnx" in done.stderr


def test_a_profile_of_an_unknown_runtime_is_refused() -> None:
    done = trimfit("profile", "--runtime", "abacus")
    assert done.returncode == 2
    assert "got runtime 'abacus', expected one of onnxruntime-cpu, onnxruntime-cpu+sparse" in done.stderr
