"""The main job with a teacher that is only asked, through the command line, on texts most of which have no label."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from teaching_server import chat, status, teaching

from benchmarks.errors import TrimfitError
from hardware_profiles import bench
from optimizer import files
from optimizer.cli import app
from optimizer.distillation.black_box.lesson import HELD_OUT_ROWS
from optimizer.effort import Effort
from optimizer.manifest import Manifest

WORDS = {"low": "negative", "high": "positive"}


@pytest.fixture
def truth(data: Path) -> dict[str, str]:
    """The teacher's word for every text; from then on only the test part of the data has labels."""
    words = {}
    for part in ("train", "dev", "test"):
        path = data / f"{part}.jsonl"
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        words |= {row["text"]: WORDS[row["label"]] for row in rows}
        if part != "test":
            path.write_text("".join(json.dumps({"text": row["text"]}) + "\n" for row in rows), encoding="utf-8")
    return words


def test_an_endpoint_teaches_a_student_and_is_paid_once(
    encoder: Path,
    data: Path,
    truth: dict[str, str],
    tmp_path: Path,
    cache: Path,
    tiny_effort: Effort,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With profile, training and timing cut short; the endpoint breaks off once in the middle."""
    monkeypatch.setenv("TRIMFIT_CACHE", str(cache))
    monkeypatch.setattr("optimizer.effort.FAST", replace(tiny_effort, teacher_minutes=0.06, finalists=1))
    monkeypatch.setitem(bench._SECONDS_PER_GRAPH, "fast", 0.02)
    monkeypatch.setitem(bench._ROUNDS, "fast", 6)
    monkeypatch.setattr("optimizer.preparation.sparse_profile_of", lambda *sizes: None)
    monkeypatch.setattr("benchmarks.budget.SECONDS_EACH", 1.0)
    out = tmp_path / "out"

    def oracle(text: str) -> dict:
        other = "positive" if truth[text] == "negative" else "negative"
        return chat(truth[text], {truth[text]: 0.9, other: 0.08})

    with teaching(oracle) as server:
        job = ["--model", encoder, "--data", data, "--out", out, "--speedup", "1.5", "--fast", "--seq-len", "32"]
        job += ["--threads", "1", "--pattern", "width", "--precision", "fp32", "--labels", "low=negative,high=positive"]
        job += ["--teacher", f"{server.url}/v1", "--teacher-model", "oracle", "--teacher-rows", "300"]
        command = ["optimize", *map(str, job)]
        with pytest.raises(TrimfitError, match=r"would cost about \$"):
            app([*command, "--teacher-price", "1000,1000", "--teacher-budget", "0.5"], standalone_mode=False)
        assert not server.requests

        server.acts = [None] * 100 + [status(401, "your trial has ended")]
        with pytest.raises(TrimfitError, match="401: your trial has ended"):
            app(command, standalone_mode=False)
        assert not (out / "manifest.json").exists()
        assert 100 <= len(server.answered) < 110
        files._LOCKS.pop().close()  # as the end of the process would

        app(command, standalone_mode=False)
        assert len(server.answered) == len(set(server.answered)), "a call was paid twice"
        before = len(server.requests)
        app(command, standalone_mode=False)
        assert len(server.requests) == before, "a finished job asks nobody"

    manifest = Manifest.read(out)
    facts = manifest.black_box
    assert facts.name.startswith("oracle at http://127.0.0.1")
    assert facts.labelled == ("train", "dev")
    assert facts.test == 1.0, "by the labels that the test part has"
    assert facts.with_probabilities == 1.0
    assert facts.rows == min(HELD_OUT_ROWS, manifest.evaluation.rows)
    near = 1e-9 if facts.rows == manifest.evaluation.rows else 0.03  # of more rows some were asked about
    assert facts.agreement_teacher == pytest.approx(manifest.teacher.test, abs=near), "right answers are the endpoint's"
    assert facts.agreement_student == pytest.approx(manifest.student.test, abs=near)
    report = (out / "report.html").read_text(encoding="utf-8")
    assert "no labels but those of oracle at" in report
    assert "Same answer as the teacher that was asked" in report
