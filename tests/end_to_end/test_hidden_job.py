"""The main job by fewer hidden dimensions, through the command line: killed while it compresses, and resumed."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from test_main_job import check_run_py, wait_for

import optimizer
from optimizer.architecture import Architecture
from optimizer.decision_record import DecisionRecord
from optimizer.manifest import Manifest

QUICK = """
from hardware_profiles import bench, widths
from optimizer import effort, hidden_choice, preparation
bench._SECONDS_PER_GRAPH["fast"], bench._ROUNDS["fast"] = 0.02, 6
widths._FFN_SHARES = [1 / 8, 1 / 4, 1 / 2]
hidden_choice.SHARES = (1 / 2,)
preparation.sparse_profile_of = lambda *_, **__: None
effort.FAST = effort.Effort("tiny", 0.1, 1, 0.03, 2, 2, 0.06, 0.03, 1, 64, "fast")
import benchmarks.budget
benchmarks.budget.SECONDS_EACH = 2.0
from optimizer.cli import main
main()
"""


def test_half_the_hidden_dimensions_go_and_widths_follow(encoder: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    job = ["--model", encoder, "--data", data, "--out", out, "--pattern", "hidden", "--speedup", "3", "--fast"]
    run = [sys.executable, "-c", QUICK, "optimize", *map(str, job), "--seq-len", "32", "--threads", "1"]
    run += ["--distill", "tinybert", "--precision", "fp32"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TRIMFIT_CACHE": str(tmp_path / "cache"), "COLUMNS": "160"}
    with (tmp_path / "log").open("w") as log:
        first = subprocess.Popen(run, env=environment, stderr=log, stdout=log)
        wait_for(out / ".trimfit" / "round-1-of-2" / "done", first, tmp_path / "log")
        first.send_signal(signal.SIGKILL)
        first.wait()
    done = subprocess.run(run, env=environment, capture_output=True, text=True, timeout=120, check=False)
    (tmp_path / "second").write_text(done.stderr)
    assert done.returncode in (0, 1), done.stderr
    assert "Fine-tuning" not in done.stderr, "the teacher was trained twice"
    assert "hidden 64, heads" in done.stderr

    manifest, decision = Manifest.read(out), DecisionRecord.read(out)
    assert manifest.student.hidden_size == 64
    assert manifest.student.pattern == "structured"
    assert manifest.student.distill == "tinybert"
    (chosen,) = [c for c in decision.candidates if c.chosen]
    assert (chosen.name, chosen.cut, chosen.hidden_size) == ("hidden 64 fp32", "hidden", 64)
    assert {r.hidden_size for r in decision.rounds} == {c.hidden_size for c in decision.corrections} == {64}
    assert decision.dimensions is not None
    assert (len(decision.dimensions.kept), decision.dimensions.total) == (64, 128)
    report = (out / "report.html").read_text(encoding="utf-8")
    assert "64 of 128 hidden dimensions are left" in report
    assert "round 1 of 2, hidden 64" in report
    assert manifest.parity.max_abs_logit_difference <= 1e-4
    model, saved = optimizer.load(out), load_file(out / "model.safetensors")
    assert all(torch.equal(value, saved[name]) for name, value in model.state_dict().items() if name in saved)
    assert Architecture.of(model).hidden_size == 64
    assert json.loads((out / "config.json").read_text())["trimfit"]["hidden_size"] == 64
    check_run_py(out)
