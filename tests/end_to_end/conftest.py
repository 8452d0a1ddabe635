"""What the end-to-end tests share: a small BERT, real text where it is at hand, and a profile cache."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

from optimizer.effort import Effort

SHARED = Path(os.environ.get("TRIMFIT_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
SST2 = SHARED / "sst2"


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A profile cache of these tests' own, so that the second job finds what the first one measured."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    """BERT with 4 layers, 128 wide, 4 heads, FFN 512: small enough to train in seconds, large enough to cut."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=800, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    backend.train_from_iterator((text for text, _ in rows_of("train")), trainer)
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        "bert",
        vocab_size=len(tokenizer),
        hidden_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=512,
        max_position_embeddings=64,
    )
    folder = tmp_path / "encoder"
    AutoModel.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def rows_of(part: str) -> list[tuple[str, int]]:
    """Real SST-2 rows where the data is at hand, else sentences whose label is in their words."""
    path = SST2 / f"{part}.jsonl.gz"
    if path.is_file():
        with gzip.open(path, "rt", encoding="utf-8") as file:
            rows = [json.loads(line) for line in file]
        return [(row["text"], row["label"]) for row in rows[:: max(1, len(rows) // 1500)]]
    rng = np.random.default_rng(len(part))
    words = {0: ["dull", "bad", "tedious", "flat"], 1: ["moving", "bright", "funny", "fine"]}
    labels = rng.integers(0, 2, 1500 if part == "train" else 200)
    more = rng.integers(0, 12, len(labels))  # so that rows differ in length
    return [
        (f"a {rng.choice(words[k])} film with {rng.choice(words[k])} scenes{' and songs' * n}", int(k))
        for k, n in zip(labels, more, strict=True)
    ]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for part in ("train", "dev", "test"):
        with (folder / f"{part}.jsonl").open("w", encoding="utf-8") as file:
            for number, (text, label) in enumerate(rows_of(part)):
                row = {"text": text, "label": ["low", "high"][label], "source": ["paper", "web"][number % 2]}
                file.write(json.dumps(row) + "\n")
    return folder


@pytest.fixture
def tiny_effort() -> Effort:
    """Every stage, as short as it goes."""
    return Effort("tiny", 0.2, 1, 0.05, 2, 1, 0.05, 0.05, 1, 64, "fast")
