"""The main job through the command line, on real text where it is at hand: killed in the middle and resumed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import optimizer
from benchmarks import Measurement
from hardware_profiles import bench
from optimizer.decision_record import DecisionRecord
from optimizer.effort import Effort
from optimizer.files import sha256
from optimizer.manifest import Manifest
from optimizer.progress import Silent
from optimizer.report import headline


def command(encoder: Path, data: Path, out: Path, *more: str) -> list[str]:
    job = ["--model", encoder, "--data", data, "--out", out]
    start = [sys.executable, "-c", "from optimizer.cli import main; main()", "optimize"]
    return [*start, *map(str, job), "--group", "source", "--seq-len", "32", "--threads", "1", "--fast", *more]


def environment(cache: Path) -> dict[str, str]:
    return {**os.environ, "HF_HUB_OFFLINE": "1", "TRIMFIT_CACHE": str(cache), "COLUMNS": "160"}


def test_the_whole_job_killed_in_the_middle_of_compression_and_started_again(
    encoder: Path, data: Path, tmp_path: Path, cache: Path
) -> None:
    out = tmp_path / "out"
    run = command(encoder, data, out, "--speedup", "2", "--mobile")
    with (tmp_path / "log").open("w") as log:
        first = subprocess.Popen(run, env=environment(cache), stderr=log, stdout=log)
        wait_for(out / ".trimfit" / "round-1-of-4" / "done", first, tmp_path / "log")
        first.send_signal(signal.SIGKILL)
        first.wait()
    assert not (out / "manifest.json").exists()
    decided = (out / ".trimfit" / "decision.json").read_bytes()

    done = subprocess.run(run, env=environment(cache), capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode in (0, 1), done.stderr
    assert "Fine-tuning" not in done.stderr, "the teacher was trained twice"
    assert "Racing" not in done.stderr, "the race was run twice"

    manifest, decision = Manifest.read(out), DecisionRecord.read(out)
    assert manifest.target_met == (done.returncode == 0) == (manifest.speedup.low >= 2)
    assert [c.name for c in decision.candidates if c.chosen] == [
        c.name for c in DecisionRecord.model_validate_json(decided).candidates if c.chosen
    ]
    check_deployment(out, manifest, decision)
    check_reload(out, manifest, data)
    check_run_py(out)

    again = subprocess.run(
        [*run, "--json"], env=environment(cache), capture_output=True, text=True, timeout=60, check=False
    )
    assert json.loads(again.stdout) == json.loads((out / "manifest.json").read_text()), "a finished job stays done"
    other = subprocess.run(
        [*run, "--seed", "7"], env=environment(cache), capture_output=True, text=True, timeout=60, check=False
    )
    assert other.returncode == 2
    assert "holds another job (seed was 0, now 7)" in other.stderr


def wait_for(path: Path, process: subprocess.Popen, log: Path, seconds: float = 420) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


def check_deployment(out: Path, manifest: Manifest, decision: DecisionRecord) -> None:
    for name, digest in manifest.files.items():
        assert digest == f"sha256:{sha256(out / name)}", name
    named = {"model.onnx", "config.json", "model.safetensors", "run.py", "decision.json", "report.html"}
    assert named <= set(manifest.files)
    assert all(model.file in manifest.files and not model.lacking for model in manifest.mobile.models)
    refusals = {c.name: c.refused for c in decision.candidates if c.refused}
    assert "does not skip zeros" in refusals["unstructured 90 % fp32"]
    assert "x measured on onnxruntime-cpu" in refusals["unstructured 90 % fp32"]
    assert set(manifest.student.groups) == {"paper", "web"}
    assert manifest.parity.max_abs_logit_difference <= 1e-4
    assert manifest.student.latency_ms.median > 0
    assert sum(len(layer.heads) for layer in decision.kept) == sum(layer.heads for layer in manifest.student.layers)
    report = (out / "report.html").read_text(encoding="utf-8")
    assert "does not skip zeros" in report
    assert 'src="http' not in report


def check_reload(out: Path, manifest: Manifest, data: Path) -> None:
    from safetensors.torch import load_file

    model = optimizer.load(out)
    saved = load_file(out / "model.safetensors")
    assert all(torch.equal(value, saved[name]) for name, value in model.state_dict().items() if name in saved)
    assert sum(p.numel() for p in model.parameters()) == manifest.student.parameters
    assert [model.config.id2label[i] for i in range(2)] == ["high", "low"]


def check_run_py(out: Path) -> None:
    done = subprocess.run(
        [sys.executable, out / "run.py", "a fine film", "dull"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert [line[2] for line in lines] == ["a fine film", "dull"]
    assert all(line[0] in {"high", "low"} and 0.5 <= float(line[1]) <= 1 for line in lines)


def test_a_target_that_the_device_cannot_reach_is_refused_with_what_it_can(
    encoder: Path, data: Path, tmp_path: Path, cache: Path
) -> None:
    run = command(encoder, data, tmp_path / "out", "--speedup", "10000")
    done = subprocess.run(run, env=environment(cache), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2, done.stderr
    assert "the fastest possible is" in done.stderr
    assert not (tmp_path / "out").exists()


def test_without_a_latency_to_reach_the_score_is_kept_at_the_datas_own_lengths(
    encoder: Path, data: Path, tmp_path: Path, cache: Path, tiny_effort: Effort, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With profile and timing cut short, a trimmed vocabulary and another set to score."""
    elsewhere = tmp_path / "elsewhere.jsonl"
    elsewhere.write_text('{"text": "a fine shop", "label": "high"}\n{"text": "a dull queue", "label": "low"}\n')
    monkeypatch.setenv("TRIMFIT_CACHE", str(cache))
    monkeypatch.setitem(bench._SECONDS_PER_GRAPH, "fast", 0.02)
    monkeypatch.setitem(bench._ROUNDS, "fast", 6)
    monkeypatch.setattr("benchmarks.budget.SECONDS_EACH", 3.0)
    deployment = optimizer.optimize(
        encoder,
        data,
        tmp_path / "out",
        target=optimizer.MaxDrop(5),
        seq_len="data",
        threads=1,
        vocabulary="trim",
        also_test=[elsewhere],
        effort=tiny_effort,
        progress=Silent(),
    )
    manifest = deployment.manifest
    assert manifest.target_met
    assert manifest.student.dev >= 0.95 * manifest.teacher.dev
    assert manifest.speedup.low > 1
    (chosen,) = [c for c in deployment.decision.candidates if c.chosen]
    points = len(manifest.workload.points()) if chosen.cut in ("width", "depth", "hidden") else 0
    assert len(chosen.tried_ms) == points, "a shape is timed at every length before it is trained"
    check_lengths(tmp_path / "out", manifest)
    check_vocabulary(encoder, tmp_path / "out", manifest)
    check_run_py(tmp_path / "out")
    assert manifest.also["elsewhere"].rows == 2
    assert manifest.evaluation is not None
    assert 0 <= manifest.evaluation.agreement <= 1
    assert all(layer.head_importance for layer in deployment.decision.kept)


def check_vocabulary(encoder: Path, out: Path, manifest: Manifest) -> None:
    """What is deployed has fewer tokens, in the tokenizer, the table and the ONNX file."""
    facts = manifest.vocabulary
    assert facts is not None
    before = json.loads((encoder / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    assert facts.tokens < facts.tokens_before == before
    words = json.loads((out / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    assert len(words) == facts.tokens == json.loads((out / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    assert len(optimizer.load(out).get_input_embeddings().weight) == facts.tokens
    assert manifest.student.parameters + facts.parameters_removed <= manifest.teacher.parameters
    assert manifest.student.onnx_bytes_ratio == manifest.teacher.onnx_bytes / manifest.student.onnx_bytes


def check_lengths(out: Path, manifest: Manifest) -> None:
    """Timed at every length, told as the mean over them, with every raw sample kept."""
    lengths = manifest.workload.lengths
    assert lengths is not None
    assert len(lengths.points) > 1
    assert f"batch 1, {lengths}, 1 thread" in headline(manifest)
    assert lengths.in_words in (out / "report.html").read_text(encoding="utf-8")
    student = Measurement.from_json(out / "measurements" / "student.json")
    assert set(student.samples.seq_len) == {point.seq_len for point in lengths.points}
    medians = {part.subject.workload.seq_len: part.median_ms for part, _ in student.parts}
    mean = sum(point.share * medians[point.seq_len] for point in lengths.points)
    assert manifest.student.latency_ms.median == pytest.approx(mean)
    assert manifest.student.latency_ms.predicted == pytest.approx(mean, rel=0.5), "of the same mix"
