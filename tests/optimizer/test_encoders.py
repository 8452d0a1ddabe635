import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2Model

from benchmarks.errors import TrimfitError
from optimizer.encoders import SUPPORTED, family_of, walk

PROJECTIONS = ("query", "key", "value", "attention_output", "up", "down")


def test_every_family_shows_the_same_parts(family, make_classifier):
    encoder = walk(make_classifier(family))
    shapes = {name: tuple(linear.weight.shape) for name, linear in encoder.layers[0].linears().items()}
    square = (16, 16)
    assert shapes == {
        "query": square,
        "key": square,
        "value": square,
        "attention_output": square,
        "up": (12, 16),
        "down": (16, 12),
    }
    assert (len(encoder.layers), encoder.head_size, encoder.vocab_size) == (3, 4, 24)


def test_an_encoder_without_a_classifier_is_walked_too(family, make_encoder):
    assert len(walk(make_encoder(family)).layers) == 3


def test_the_embeddings_hold_one_vector_per_word(family, make_classifier):
    assert walk(make_classifier(family)).embeddings.word_embeddings.weight.shape[0] == 24


@pytest.mark.parametrize("name", PROJECTIONS)
def test_a_part_that_is_replaced_is_the_one_that_runs(name, family, make_classifier, batch):
    model = make_classifier(family)
    layer = walk(model).layers[1]
    zero = nn.Linear(*reversed(getattr(layer, name).weight.shape))
    nn.init.zeros_(zero.weight)
    before = model(**batch).logits
    setattr(layer, name, zero)
    assert getattr(layer, name) is zero
    assert not torch.allclose(model(**batch).logits, before)


def test_a_replaced_layer_list_is_the_one_that_runs(family, make_classifier, batch):
    model = make_classifier(family)
    encoder = walk(model)
    before = model(**batch).logits
    encoder.layer_list = nn.ModuleList(reversed(encoder.layer_list))
    assert not torch.allclose(model(**batch).logits, before)


def test_other_models_are_refused_with_a_list_of_those_supported():
    with pytest.raises(TrimfitError, match="'gpt2' are not supported: use one of " + ", ".join(SUPPORTED)):
        walk(GPT2Model(GPT2Config(n_layer=1, n_embd=8, n_head=2, vocab_size=9)))


def test_decoders_are_refused(make_classifier):
    config = make_classifier().config
    config.is_decoder = True
    with pytest.raises(TrimfitError, match="expected an encoder"):
        family_of(config)
