"""A smaller checkpoint with a tokenizer of its own, taken through the command line to a deployment of it."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedTokenizerFast
from typer.testing import CliRunner

import optimizer
from hardware_profiles import bench
from optimizer.cli import app
from optimizer.decision_record import DecisionRecord
from optimizer.effort import Effort
from optimizer.manifest import Manifest


@pytest.fixture
def student(tmp_path: Path, data: Path) -> Path:
    """BERT with 1 layer, 64 wide; it knows more words than the teacher, by other ids, and names its labels first."""
    texts = [json.loads(line)["text"] for line in (data / "train.jsonl").read_text(encoding="utf-8").splitlines()]
    backend = Tokenizer(models.WordPiece(unk_token="<unk>"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["<s>", "</s>", "<pad>", "<unk>", "<more>"]
    backend.train_from_iterator(texts, trainers.WordPieceTrainer(vocab_size=1200, special_tokens=special))
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", unk_token="<unk>", cls_token="<s>", sep_token="</s>"
    )
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        "bert", vocab_size=len(tokenizer), hidden_size=64, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=128, max_position_embeddings=64, pad_token_id=2, id2label={0: "low", 1: "high"},
        label2id={"low": 0, "high": 1},
    )  # fmt: skip
    folder = tmp_path / "student"
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_given_student_is_timed_distilled_and_deployed_with_its_own_tokenizer(
    encoder: Path,
    data: Path,
    student: Path,
    tmp_path: Path,
    cache: Path,
    tiny_effort: Effort,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With unlabelled and made-up rows, in the order of a curriculum; profile and timing cut short."""
    monkeypatch.setenv("TRIMFIT_CACHE", str(cache))
    monkeypatch.setitem(bench._SECONDS_PER_GRAPH, "fast", 0.02)
    monkeypatch.setitem(bench._ROUNDS, "fast", 6)
    monkeypatch.setattr("benchmarks.budget.SECONDS_EACH", 1.0)
    monkeypatch.setattr("optimizer.given_candidates.SECONDS_EACH", 0.5)
    effort = replace(tiny_effort, teacher_minutes=0.05, compress_minutes=0.02, recover_minutes=0.02)
    monkeypatch.setattr("optimizer.effort.choose_effort", lambda fast, thorough: effort)
    (tmp_path / "more.txt").write_text("a film without a label\nanother one of them\n", encoding="utf-8")
    out = tmp_path / "out"
    done = CliRunner().invoke(
        app,
        [
            "optimize", *("--model", str(encoder)), *("--data", str(data)), *("--out", str(out)),
            *("--student", str(student)), *("--pattern", "given"), *("--speedup", "1.5"), *("--precision", "fp32"),
            *("--seq-len", "32"), *("--threads", "1"), *("--rows", "curriculum"),
            *("--unlabelled", str(tmp_path / "more.txt")), *("--augment", "1"),
        ],
    )  # fmt: skip
    assert done.exit_code in (0, 1), done.output
    manifest, decision = Manifest.read(out), DecisionRecord.read(out)
    assert manifest.student.pattern == "given"
    assert manifest.speedup.low > 1
    assert len(manifest.student.layers) == 1
    assert manifest.parity.max_abs_logit_difference <= 1e-4
    assert (manifest.training.rows, manifest.training.unlabelled) == ("curriculum", 2)
    assert manifest.training.augmented > 0
    (chosen,) = [c for c in decision.candidates if c.chosen]
    assert (chosen.cut, chosen.hidden_size) == ("given", 64)
    assert "width fp32: only given was allowed" in {c.refused for c in decision.candidates}
    assert decision.kept == ()
    assert "timed as it is" in (out / "report.html").read_text(encoding="utf-8")

    words = json.loads((student / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    assert json.loads((out / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"] == words
    model = optimizer.load(out)
    assert model.config.hidden_size == 64
    assert [model.config.id2label[i] for i in range(2)] == ["high", "low"], "in the teacher's order"
    ran = subprocess.run(
        [sys.executable, out / "run.py", "a fine film"], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    tokenizer = PreTrainedTokenizerFast.from_pretrained(out)
    logits = model(**tokenizer("a fine film", return_tensors="pt", return_token_type_ids=False)).logits
    label, share = ran.stdout.split("\t")[:2]
    assert label == model.config.id2label[int(logits.argmax())]
    assert float(share) == pytest.approx(float(logits.softmax(-1).max()), abs=0.01)
