"""The smallest models of every family: 3 layers, hidden 16, 4 heads of 4, FFN 12, 3 labels, 24 words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from optimizer.encoders import SUPPORTED

# padding is 1, as RoBERTa's counting of positions wants it
VOCABULARY = "[CLS] [PAD] [SEP] [UNK] a the not very good bad dull fine film plot cast end was is and but no yes it so"
TEXTS = ("the film was good", "not a very fine plot but so", "dull", "it was bad and the end is bad , no")
LABELS = {0: "bad", 1: "mixed", 2: "good"}
NAMES = {
    "distilbert": {"hidden_size": "dim", "num_attention_heads": "n_heads", "intermediate_size": "hidden_dim"},
}

MakeModel = Callable[..., PreTrainedModel]


def _config(family: str, **settings: object) -> object:
    sizes = {"hidden_size": 16, "num_attention_heads": 4, "intermediate_size": 12, "num_hidden_layers": 3}
    names = NAMES.get(family, {})
    fields = {names.get(name, name): value for name, value in sizes.items()}
    if family == "electra":
        fields["embedding_size"] = 8  # so that there is an embeddings_project
    return AutoConfig.for_model(
        family,
        vocab_size=len(VOCABULARY.split()),
        max_position_embeddings=40,
        pad_token_id=1,
        id2label=LABELS,
        label2id={name: index for index, name in LABELS.items()},
        **{**fields, **settings},
    )


def _randomised(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """Weights large enough for every head, neuron and bias to matter to the logits."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3, generator=generator)
    return model.eval()


@pytest.fixture(params=SUPPORTED)
def family(request: pytest.FixtureRequest) -> str:
    """Each supported model type in turn."""
    return str(request.param)


@pytest.fixture
def make_classifier() -> MakeModel:
    """make_classifier(family="bert", seed=0, **config fields): a tiny classifier in evaluation mode."""

    def make(family: str = "bert", seed: int = 0, **settings: object) -> PreTrainedModel:
        config = _config(family, **settings)
        model = AutoModelForSequenceClassification.from_config(config, attn_implementation="eager")
        return _randomised(model, seed)

    return make


@pytest.fixture
def make_encoder() -> MakeModel:
    """make_encoder(family="bert", seed=0): the same without a classifier."""

    def make(family: str = "bert", seed: int = 0) -> PreTrainedModel:
        return _randomised(AutoModel.from_config(_config(family), attn_implementation="eager"), seed)

    return make


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    """Words by white space, wrapped in [CLS] and [SEP]."""
    vocabulary = {word: index for index, word in enumerate(VOCABULARY.split())}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 0), ("[SEP]", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        cls_token="[CLS]",
        pad_token="[PAD]",
        sep_token="[SEP]",
        unk_token="[UNK]",
        model_max_length=32,
        model_input_names=["input_ids", "attention_mask"],
    )


@pytest.fixture
def batch(tokenizer: PreTrainedTokenizerFast) -> dict[str, torch.Tensor]:
    """Four texts of different lengths, padded: input_ids and attention_mask [4, 12]."""
    return dict(tokenizer(list(TEXTS), padding=True, return_tensors="pt"))


@pytest.fixture
def classifier_folder(tmp_path: Path, make_classifier: MakeModel, tokenizer: PreTrainedTokenizerFast) -> Path:
    """A tiny BERT classifier and its tokenizer, as transformers saves them."""
    folder = tmp_path / "classifier"
    make_classifier().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def encoder_folder(tmp_path: Path, make_encoder: MakeModel, tokenizer: PreTrainedTokenizerFast) -> Path:
    """A tiny BERT encoder without a classifier and its tokenizer, as transformers saves them."""
    folder = tmp_path / "encoder"
    make_encoder().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
