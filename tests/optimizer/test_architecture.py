import pytest
from pydantic import ValidationError

from benchmarks.errors import TrimfitError
from optimizer.architecture import Architecture, LayerShape
from optimizer.encoders import walk

SHAPE = Architecture(
    hidden_size=16,
    head_size=4,
    vocab_size=24,
    layers=(LayerShape(heads=4, ffn=12), LayerShape(heads=0, ffn=5), LayerShape(heads=1, ffn=0)),
)


class Config:
    def __init__(self, trimfit):
        self.trimfit = trimfit


def test_every_family_is_read_from_its_weights(family, make_classifier):
    layer = LayerShape(heads=4, ffn=12)
    assert Architecture.of(make_classifier(family)) == Architecture(
        hidden_size=16, head_size=4, vocab_size=24, layers=(layer, layer, layer)
    )


def test_encoder_parameters_are_those_of_the_layers(family, make_classifier):
    model = make_classifier(family)
    counted = sum(parameter.numel() for parameter in walk(model).layer_list.parameters())
    assert Architecture.of(model).encoder_parameters() == counted


def test_a_removed_block_counts_only_its_bias_and_layer_norm():
    empty = SHAPE.model_copy(update={"layers": (LayerShape(heads=0, ffn=0),)})
    assert empty.encoder_parameters() == 2 * 16 + 2 * 2 * 16


def test_depth_is_the_number_of_layers_left():
    assert SHAPE.depth == 3


def test_negative_widths_do_not_exist():
    with pytest.raises(ValidationError, match="heads"):
        LayerShape(heads=-1, ffn=0)


def test_the_config_gives_back_the_shape_it_was_given():
    assert Architecture.from_config(Config(SHAPE.as_config())) == SHAPE


def test_a_model_that_was_never_cut_tells_no_shape():
    assert Architecture.from_config(Config(None)) is None


@pytest.mark.parametrize("broken", [{**SHAPE.as_config(), "layers": [{"heads": "four", "ffn": 1}]}, {}, ["layers"]])
def test_a_broken_shape_is_refused(broken):
    with pytest.raises(TrimfitError, match="tells a shape that this version does not read"):
        Architecture.from_config(Config(broken))
