"""The main job with a winner of zeros: decided, compressed, proved and deployed with the sparse operators."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from transformers import PreTrainedModel

import optimizer
from benchmarks.errors import TrimfitError
from hardware_profiles.layer_zeros import Sparsity
from hardware_profiles.runtimes.sparse.library import library_path
from optimizer.decision import Decision, decide
from optimizer.effort import Effort
from optimizer.files import sha256
from optimizer.progress import Silent
from optimizer.proof import Proof
from optimizer.pruning.parts import all_parts, share_of
from optimizer.setting import Setting


def library_name() -> str | None:
    try:
        return library_path().name
    except TrimfitError:
        return None


def only_zeros(setting: Setting, advance: object) -> Decision:
    """As if nothing but zeros reached the target."""
    decision = decide(setting, advance)
    judged = (c if c.zeros != "dense" or c.refused else c.refuse("not asked") for c in decision.candidates)
    return replace(decision, candidates=tuple(judged))


@pytest.mark.skipif(library_name() is None, reason="the sparse operators are not built for this machine")
def test_zeros_win_the_main_job_where_nothing_else_may(
    encoder: Path, data: Path, tmp_path: Path, cache: Path, tiny_effort: Effort, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIMFIT_CACHE", str(cache))
    monkeypatch.setattr("optimizer.workflow.decide", only_zeros)
    monkeypatch.setattr("optimizer.decision.finalists", lambda candidates, most: list(candidates))
    meets, judged = Proof.meets, iter([False])
    monkeypatch.setattr(Proof, "meets", lambda proof, *asked: next(judged, None) is None and meets(proof, *asked))
    out = tmp_path / "out"
    deployment = optimizer.optimize(
        encoder,
        data,
        out,
        target=optimizer.Speedup(1.5),
        seq_len=32,
        threads=1,
        effort=tiny_effort,
        progress=Silent(),
    )
    manifest, decision = deployment.manifest, deployment.decision
    assert manifest.student.runtime == "onnxruntime-cpu+sparse"
    assert manifest.student.pattern in ("unstructured", "block")
    assert manifest.student.sparsity > 0, "as few as this machine needs"
    assert [(layer.heads, layer.ffn) for layer in manifest.student.layers] == [(4, 512)] * 4, "nothing is removed"
    assert manifest.speedup.versus == "teacher fp32 onnxruntime-cpu"
    assert "onnxruntime-cpu+sparse runs its layers" in decision.reason
    sparsities = [correction.sparsity for correction in decision.corrections]
    assert sparsities == sorted(set(sparsities)), "a missed target raises the sparsity"
    assert sparsities[-1] == manifest.student.sparsity
    last = decision.rounds[-1]
    check_zeros(deployment.model(), manifest.student.pattern, last.layer_zeros or last.sparsity)
    assert next(c for c in decision.candidates if c.chosen).zeros_by == "second-order-even", "the default"
    assert manifest.files[library_name()] == f"sha256:{sha256(out / library_name())}"
    assert decision.runtime_options["custom_op_library"] == library_name()
    assert f"{100 * manifest.student.sparsity:.0f}" in (out / "report.html").read_text(encoding="utf-8")
    run = [sys.executable, out / "run.py", "a fine film"]
    done = subprocess.run(run, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\t")[0] in {"high", "low"}


def check_zeros(model: PreTrainedModel, pattern: str, shares: Sparsity) -> None:
    for part in all_parts(model):
        for name, linear in part.linears.items():
            zeros = (linear.weight == 0).float()
            if pattern == "block":
                zeros = zeros.reshape(len(zeros), -1, 4).min(dim=2).values
            assert zeros.mean().item() == pytest.approx(share_of(part, shares), abs=0.01), (part.layer, name)
