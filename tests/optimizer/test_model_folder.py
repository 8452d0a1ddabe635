import json
import logging
import pickle
import shutil

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification, AutoTokenizer

from benchmarks.errors import TrimfitError
from optimizer.architecture import Architecture
from optimizer.encoders import SUPPORTED, walk
from optimizer.model_folder import inspect_folder, load, load_classifier, save
from optimizer.surgery import LayerPlan, keep

ALL = tuple(range(12))
PLAN = [
    LayerPlan(heads=(1, 3), ffn=(0, 2, 11)),
    LayerPlan(heads=(), ffn=(4, 5)),
    LayerPlan(heads=(0,), ffn=()),
]
LABELS = {0: "bad", 1: "mixed", 2: "good"}
WEIGHTS = "model.safetensors"


def edit_config(folder, **fields):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


# --- save and load


@pytest.mark.parametrize("plan", [PLAN, [*PLAN[:1], None, None], [None, PLAN[1], None]], ids=str)
def test_a_cut_model_comes_back_bit_for_bit(family, plan, make_classifier, tokenizer, batch, tmp_path):
    model, report = keep(make_classifier(family), plan)
    save(model, tokenizer, tmp_path)
    again = load(tmp_path)
    state = model.state_dict()
    assert list(again.state_dict()) == list(state)
    assert all(torch.equal(tensor, state[name]) for name, tensor in again.state_dict().items())
    assert torch.equal(again(**batch).logits, model(**batch).logits)
    assert Architecture.of(again) == report.after
    assert again.config.id2label == LABELS


def test_a_cut_model_can_be_loaded_cut_and_saved_again(family, make_classifier, tokenizer, batch, tmp_path):
    model, _ = keep(make_classifier(family), PLAN)
    save(model, tokenizer, tmp_path / "once")
    narrower = [LayerPlan(heads=(1,), ffn=(0,)), None, LayerPlan(heads=(), ffn=())]
    again, _ = keep(load(tmp_path / "once"), narrower)
    save(again, tokenizer, tmp_path / "twice")
    assert torch.equal(load(tmp_path / "twice")(**batch).logits, again(**batch).logits)


def test_a_model_that_was_never_cut_comes_back_bit_for_bit(family, make_classifier, batch, tmp_path):
    model = make_classifier(family)
    save(model, None, tmp_path)
    assert torch.equal(load(str(tmp_path))(**batch).logits, model(**batch).logits)


def test_layers_of_one_width_are_loaded_by_transformers_alone(family, make_classifier, batch, tmp_path):
    model, _ = keep(make_classifier(family), [LayerPlan(heads=(0, 1, 2, 3), ffn=(1, 2, 3))] * 2 + [None])
    save(model, None, tmp_path)
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path, attn_implementation="eager").eval()
    assert torch.equal(plain(**batch).logits, model(**batch).logits)


def test_the_tokenizer_is_saved_beside_the_model(make_classifier, tokenizer, tmp_path):
    save(make_classifier(), tokenizer, tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path)("the film")["input_ids"] == tokenizer("the film")["input_ids"]


def test_loading_is_quiet_and_leaves_logging_as_it_was(encoder_folder, capfd):
    load_classifier(encoder_folder, 2, {0: "no", 1: "yes"})
    assert capfd.readouterr() == ("", "")
    assert logging.root.manager.disable == logging.NOTSET


# --- what a folder holds


def test_a_classifier_is_recognised(family, make_classifier, tmp_path):
    make_classifier(family).save_pretrained(tmp_path)
    found = inspect_folder(tmp_path)
    assert (found.model_type, found.has_classifier, found.labels) == (family, True, LABELS)
    assert (found.weights, found.architecture) == ("safetensors", None)


def test_an_encoder_without_a_classifier_is_recognised(family, make_encoder, tmp_path):
    make_encoder(family).save_pretrained(tmp_path)
    found = inspect_folder(tmp_path)
    assert (found.has_classifier, found.labels) == (False, None)


def test_a_folder_that_trimfit_wrote_tells_its_shape(make_classifier, tmp_path):
    model, report = keep(make_classifier(), PLAN)
    save(model, None, tmp_path)
    assert inspect_folder(tmp_path).architecture == report.after


def test_weights_in_several_files_are_read(make_classifier, batch, tmp_path):
    model = make_classifier()
    model.save_pretrained(tmp_path, max_shard_size="4KB")
    assert len(inspect_folder(tmp_path).files) > 1
    assert torch.equal(load(tmp_path)(**batch).logits, model(**batch).logits)
    inspect_folder(tmp_path).files[1].unlink()
    with pytest.raises(TrimfitError, match="lacks model-00002"):
        inspect_folder(tmp_path)


# --- a classifier out of a folder


def test_an_encoder_gets_a_fresh_head_drawn_with_the_seed(family, make_encoder, tmp_path):
    encoder = make_encoder(family)
    encoder.save_pretrained(tmp_path)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = load_classifier(tmp_path, 2, {0: "no", 1: "yes"}, seed=5)
    same = load_classifier(tmp_path, 2, {0: "no", 1: "yes"}, seed=5).state_dict()
    other = load_classifier(tmp_path, 2, {0: "no", 1: "yes"}, seed=6).state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, same[name]) for name, tensor in first.state_dict().items())
    assert any(not torch.equal(tensor, other[name]) for name, tensor in first.state_dict().items())
    assert torch.equal(walk(first).layers[1].down.weight, walk(encoder).layers[1].down.weight)
    assert first.config.id2label == {0: "no", 1: "yes"}
    assert not first.training


def test_an_encoder_without_pooler_weights_gets_a_fresh_pooler(make_encoder, batch, tmp_path):
    encoder = make_encoder()
    state = {name: tensor for name, tensor in encoder.state_dict().items() if "pooler" not in name}
    encoder.save_pretrained(tmp_path, state_dict=state)
    assert load_classifier(tmp_path, 2, {0: "no", 1: "yes"})(**batch).logits.shape == (4, 2)


def test_a_language_model_is_an_encoder_without_a_classifier(make_encoder, tmp_path):
    AutoModelForMaskedLM.from_config(make_encoder().config).save_pretrained(tmp_path)
    assert not inspect_folder(tmp_path).has_classifier
    assert load_classifier(tmp_path, 2, {0: "no", 1: "yes"}).config.num_labels == 2


def test_half_precision_weights_are_loaded_as_float32(make_classifier, tmp_path):
    make_classifier().half().save_pretrained(tmp_path)
    assert load(tmp_path).dtype == torch.float32


def test_pickled_weights_are_loaded_when_they_hold_only_weights(classifier_folder, batch):
    expected = load(classifier_folder)(**batch).logits
    torch.save(load_file(classifier_folder / WEIGHTS), classifier_folder / "pytorch_model.bin")
    (classifier_folder / WEIGHTS).unlink()
    assert inspect_folder(classifier_folder).weights == "pickle"
    assert torch.equal(load(classifier_folder)(**batch).logits, expected)


# --- refusals, one line each


class Malicious:
    def __reduce__(self):
        return print, ("code from a pickle ran",)


def without_config(folder):
    (folder / "config.json").unlink()


def without_weights(folder):
    (folder / WEIGHTS).unlink()


def with_truncated_weights(folder):
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[:-100])


def with_empty_weights(folder):
    (folder / WEIGHTS).write_bytes(b"")


def with_code_in_a_pickle(folder):
    (folder / WEIGHTS).unlink()
    torch.save({"bert.x": Malicious()}, folder / "pytorch_model.bin")


def with_a_plain_pickle(folder):
    (folder / WEIGHTS).unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Malicious()))


def with_a_list_in_a_pickle(folder):
    (folder / WEIGHTS).unlink()
    torch.save([torch.zeros(1)], folder / "pytorch_model.bin")


REFUSALS = [
    (without_config, "holds no config.json: expected a local Hugging Face model folder"),
    (shutil.rmtree, "is not a folder"),
    (lambda folder: (folder / "config.json").write_text("{"), "is not JSON"),
    (lambda folder: (folder / "config.json").write_text("[]"), "type None, which is not supported"),
    (lambda folder: edit_config(folder, model_type="gpt2"), "'gpt2'.*use one of " + ", ".join(SUPPORTED)),
    (lambda folder: edit_config(folder, hidden_size="wide"), "cannot be loaded"),
    (lambda folder: edit_config(folder, hidden_size=32), "cannot be loaded .*mismatch"),
    (lambda folder: edit_config(folder, num_hidden_layers=4), "lacks 16 of its weights"),
    (
        lambda folder: edit_config(folder, id2label={"0": "no", "1": "yes"}),
        "3 logits but config.json names 2 labels",
    ),
    (lambda folder: edit_config(folder, problem_type="regression"), "is a regression model"),
    (lambda folder: edit_config(folder, is_decoder=True), "expected an encoder"),
    (lambda folder: edit_config(folder, trimfit={"layers": []}), "tells a shape"),
    (without_weights, "holds no weights: expected model.safetensors"),
    (with_truncated_weights, "is broken or truncated"),
    (with_empty_weights, "is broken or truncated"),
    (with_code_in_a_pickle, "is a pickle that holds more than weights"),
    (with_a_plain_pickle, "is a pickle that holds more than weights"),
    (with_a_list_in_a_pickle, "holds no weights by name"),
]


@pytest.mark.parametrize(("spoil", "words"), REFUSALS, ids=[words[:30] for _, words in REFUSALS])
def test_a_folder_that_cannot_be_used_is_refused_in_one_line(spoil, words, classifier_folder, capfd):
    spoil(classifier_folder)
    with pytest.raises(TrimfitError, match=words) as caught:
        load(classifier_folder)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_cut_model_whose_weights_do_not_fit_its_shape_is_refused(make_classifier, tmp_path):
    model, _ = keep(make_classifier(), PLAN)
    save(model, None, tmp_path / "cut")
    make_classifier().save_pretrained(tmp_path / "whole")
    shutil.copy(tmp_path / "whole" / WEIGHTS, tmp_path / "cut" / WEIGHTS)
    with pytest.raises(TrimfitError, match="cannot be loaded"):
        load(tmp_path / "cut")


def test_a_classifier_of_other_labels_is_refused_with_their_names(classifier_folder):
    with pytest.raises(TrimfitError, match=r"3 labels \(bad, mixed, good\), got 2"):
        load_classifier(classifier_folder, 2, {0: "no", 1: "yes"})


def test_load_wants_a_classifier(encoder_folder):
    with pytest.raises(TrimfitError, match="holds an encoder without a classifier"):
        load(encoder_folder)
