"""The main job with a winner that MNN runs: profiled, raced, compressed, proved in turns and deployed in its form."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import optimizer
from hardware_profiles import bench
from hardware_profiles.runtimes import MnnCpu, OnnxRuntimeCpu, refused
from optimizer.decision import Decision, decide
from optimizer.effort import Effort
from optimizer.files import sha256
from optimizer.progress import Silent
from optimizer.setting import Setting

NAME = "mnn-cpu"


def only_mnn(setting: Setting, advance: object) -> Decision:
    """As if nothing but MNN reached the target."""
    decision = decide(setting, advance)
    judged = (c if c.runtime == NAME or c.refused else c.refuse("not asked") for c in decision.candidates)
    return replace(decision, candidates=tuple(judged))


@pytest.mark.skipif(NAME in refused(), reason=refused().get(NAME, ""))
def test_mnn_wins_the_main_job_where_nothing_else_may(
    encoder: Path, data: Path, tmp_path: Path, cache: Path, tiny_effort: Effort, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIMFIT_CACHE", str(cache))
    monkeypatch.setitem(bench._SECONDS_PER_GRAPH, "fast", 0.02)
    monkeypatch.setitem(bench._ROUNDS, "fast", 6)
    monkeypatch.setattr("benchmarks.budget.SECONDS_EACH", 3.0)
    monkeypatch.setattr("optimizer.workflow.decide", only_mnn)
    monkeypatch.setattr("optimizer.decision.finalists", lambda candidates, most: list(candidates))
    out = tmp_path / "out"
    deployment = optimizer.optimize(
        encoder,
        data,
        out,
        target=optimizer.Speedup(1.5),
        pattern="depth",
        seq_len=32,
        threads=1,
        mobile=True,
        effort=tiny_effort,
        progress=Silent(),
    )
    manifest, decision = deployment.manifest, deployment.decision
    assert manifest.student.runtime == NAME
    assert {f"teacher-fp32-{NAME}.json", f"teacher-int8-{NAME}.json", "student.json"} <= {
        path.name for path in (out / "measurements").iterdir()
    }
    assert manifest.parity.max_abs_logit_difference <= MnnCpu.logit_tolerance
    assert manifest.student.onnx_bytes == (out / "model.mnn").stat().st_size
    for name in ("model.mnn", "model.onnx"):
        assert manifest.files[name] == f"sha256:{sha256(out / name)}"
    assert f" on {NAME}" in decision.reason
    assert "With MNN, model.mnn" in (out / "report.html").read_text(encoding="utf-8")
    assert manifest.mobile is not None
    assert [(model.precision, model.deployed) for model in manifest.mobile.models] == [("fp32", False), ("int8", False)]
    check_forms(out, manifest.student.precision)
    run = [sys.executable, out / "run.py", "a fine film"]
    done = subprocess.run(run, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\t")[0] in {"high", "low"}


def check_forms(out: Path, precision: str) -> None:
    """Both files answer alike, as far as the precision of one lets them."""
    ids = np.random.default_rng(0).integers(5, 100, (3, 12))
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    onnx = OnnxRuntimeCpu().session(out / "model.onnx", 1)
    expected = onnx.run(["logits"], {entry.name: feed[entry.name] for entry in onnx.get_inputs()})[0]
    answers = MnnCpu().at(precision).session(out / "model.mnn", 1).run(["logits"], feed)[0]
    allowed = MnnCpu.logit_tolerance if precision == "fp32" else 0.1 * float(np.abs(expected).max())
    np.testing.assert_allclose(answers, expected, atol=allowed)
