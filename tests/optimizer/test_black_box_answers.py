"""What a black box says of one text, and the distribution that is made of it."""

import numpy as np
import pytest
from teaching_server import chat

from benchmarks.errors import TrimfitError
from optimizer.distillation.black_box.chat import chat_request, chat_said, reduced
from optimizer.distillation.black_box.distribution import completed, logits_of, mixed, smoothed
from optimizer.distillation.black_box.label_set import LabelSet, parse_labels
from optimizer.distillation.black_box.said import at_path, said_in
from optimizer.evaluation.calibration import softmax

NAN = np.nan
LABELS = LabelSet(("bad", "mixed", "good"), ("bad", "mixed", "good"))


# formulas


def test_a_bare_label_is_smoothed_over_all_classes() -> None:
    """Szegedy et al. 2016: 0.9 + 0.1 / 4 for the label, 0.1 / 4 for each of the others."""
    np.testing.assert_allclose(smoothed(2, 4), [0.025, 0.025, 0.925, 0.025])


def test_the_mass_that_was_not_listed_is_shared_by_the_classes_that_were_not() -> None:
    np.testing.assert_allclose(completed(np.array([0.7, 0.2, NAN, NAN]), 0.1, 0.2), [0.7, 0.2, 0.05, 0.05])


def test_no_unlisted_class_gets_more_than_the_least_listed_one() -> None:
    """0.6 is left for the other class, but the top one has 0.4: 0.4 each, which are halves."""
    np.testing.assert_allclose(completed(np.array([0.4, NAN]), 0.6, 0.4), [0.5, 0.5])


def test_all_probabilities_are_kept_as_they_are_and_none_is_zero() -> None:
    np.testing.assert_allclose(completed(np.array([0.1, 0.6, 0.3]), 0.0, 0.1), [0.1, 0.6, 0.3])
    q = completed(np.array([1.0, 0.0]), 0.0, 0.0)
    assert q[1] == pytest.approx(1e-6, rel=1e-3)
    assert np.isfinite(logits_of(q)).all()


def test_logits_say_the_distribution_again_and_two_teachers_are_averaged() -> None:
    q, other = np.array([[0.7, 0.2, 0.1]]), np.array([[0.1, 0.2, 0.7]])
    np.testing.assert_allclose(softmax(logits_of(q)), q)
    np.testing.assert_allclose(mixed(q, other, 0.25), [[0.25, 0.2, 0.55]])


# words for classes


@pytest.mark.parametrize(
    ("said", "index"),
    [
        ("good", 2),
        (" Good.\n", 2),
        ('"BAD"', 0),
        ("mixed, because it says both", 1),
        ("goodness", None),
        ("not good", None),
        ("", None),
    ],
)
def test_a_class_is_known_by_its_word_alone_or_first(said: str, index: int | None) -> None:
    assert LABELS.index(said) == index


def test_the_longer_of_two_words_that_begin_alike_is_meant() -> None:
    labels = LabelSet(("good", "good enough"), ("good", "good enough"))
    assert labels.index("good enough, I think") == 1
    assert labels.index("good") == 0


def test_labels_are_named_with_the_teachers_words() -> None:
    labels = parse_labels(["0=negative", " 1 = positive"])
    assert labels == LabelSet(("0", "1"), ("negative", "positive"))
    assert labels.index("Positive") == labels.index("1") == 1
    assert labels.in_order_of(["1", "0", "2"]).words == ("positive", "negative", "2")
    assert parse_labels([]) is None
    for wrong in (["a"], ["a", "A"], ["a", ""], ["0=x", "1=x"]):
        with pytest.raises(TrimfitError, match="expected two or more different ones"):
            parse_labels(wrong)


# JSON of many kinds


@pytest.mark.parametrize(
    "value",
    [
        {"bad": 0.1, "mixed": 0.2, "good": 0.7},
        {"probabilities": {"good": 0.7, "bad": 0.1, "mixed": 0.2}, "id": 7},
        {"label": "bad", "probabilities": {"good": 0.7, "bad": 0.1, "mixed": 0.2}},
        {"labels": ["good", "mixed", "bad"], "scores": [0.7, 0.2, 0.1]},
        [[{"label": "GOOD", "score": 0.7}, {"label": "MIXED", "score": 0.2}, {"label": "BAD", "score": 0.1}]],
        {"top_k": [["good", 0.7], ["mixed", 0.2], ["bad", 0.1]]},
        'Here it is:\n```json\n{"bad": 0.1, "mixed": 0.2, "good": 0.7}\n```',
        {"probabilities": '{"bad": 0.1, "mixed": 0.2, "good": 0.7}'},
        {"id": 3, "bad": 0.1, "mixed": 0.2, "good": 0.7, "label": "bad"},
    ],
)
def test_probabilities_are_read_in_the_forms_that_servers_give(value: object) -> None:
    said = said_in(value, LABELS)
    assert said.label == 2
    np.testing.assert_allclose(said.distribution, [0.1, 0.2, 0.7])


@pytest.mark.parametrize("value", ["good", {"label": "Good"}, {"answer": "good", "id": 4}, ["good"], {"class": "good"}])
def test_a_label_alone_has_no_probabilities(value: object) -> None:
    said = said_in(value, LABELS)
    assert not said.has_probabilities
    np.testing.assert_allclose(said.distribution, smoothed(2, 3))


def test_the_top_probability_alone_leaves_the_rest_to_the_others() -> None:
    np.testing.assert_allclose(said_in({"label": "good", "score": 0.8}, LABELS).distribution, [0.1, 0.1, 0.8])


def test_a_number_may_be_a_class() -> None:
    assert said_in({"label": 1}, LabelSet(("0", "1"), ("0", "1"))).label == 1
    assert said_in({"label": 1.0}, LabelSet(("0", "1"), ("0", "1"))).label == 1


def test_numbers_that_are_no_probabilities_count_for_their_order_only() -> None:
    said = said_in({"bad": 2.5, "good": 3.5, "mixed": -1.0}, LABELS)
    assert said.label == 2
    assert not said.has_probabilities


@pytest.mark.parametrize(
    "value", ["great", {"label": "great", "score": 0.9}, {"sentiment": "good"}, [], {}, None, 3, {"label": None}]
)
def test_what_names_no_class_is_no_answer(value: object) -> None:
    assert said_in(value, LABELS) is None


def test_the_most_likely_class_must_be_one_of_the_labels() -> None:
    top = [{"label": "great", "score": 0.6}, {"label": "good", "score": 0.3}]
    assert said_in(top, LABELS) is None
    said = said_in([{"label": "good", "score": 0.6}, {"label": "great", "score": 0.3}], LABELS)
    np.testing.assert_allclose(said.distribution, np.array([0.05, 0.05, 0.6]) / 0.7)


def test_a_path_leads_into_an_answer() -> None:
    assert at_path({"result": [{"x": 1}, {"label": "good"}]}, "result.1.label") == "good"
    assert at_path({"result": []}, "result.1.label") is None
    assert at_path("whole", "") == "whole"


# chat completions


def said_by(response: dict, labels: LabelSet = LABELS) -> object:
    return chat_said(reduced(response), labels)


def test_all_ways_to_begin_a_word_count_for_its_class() -> None:
    said = said_by(chat("good", {"good": 0.5, " Good": 0.2, "bad": 0.2, "b": 0.05}))
    np.testing.assert_allclose(said.listed, [0.25, NAN, 0.7])
    np.testing.assert_allclose(said.distribution, np.array([0.25, 0.05, 0.7]))


def test_tokens_that_two_classes_begin_with_are_followed_to_where_they_part() -> None:
    """P(neutral) = P(ne) P(utral | ne): 0.8 * 0.75, and 0.8 * 0.25 for the other."""
    labels = LabelSet(("negative", "neutral", "positive"), ("negative", "neutral", "positive"))
    said = said_by(chat("neutral", {"ne": 0.8, "positive": 0.2}, {"utral": 0.75, "gative": 0.25}), labels)
    np.testing.assert_allclose(said.distribution, [0.2, 0.6, 0.2])
    said = said_by(chat(" neutral", {" ": 1.0}, {"ne": 0.8, "positive": 0.2}, {"utral": 0.75, "gative": 0.25}), labels)
    np.testing.assert_allclose(said.distribution, [0.2, 0.6, 0.2])


def test_what_went_to_words_that_are_no_class_is_left_out() -> None:
    said = said_by(chat("good", {"good": 0.6, "The": 0.3, "bad": 0.1}))
    np.testing.assert_allclose(said.distribution, np.array([0.1, 1e-6, 0.6]) / 0.700001, atol=1e-6)


def test_a_word_that_another_one_begins_with_ends_where_the_answer_ends() -> None:
    labels = LabelSet(("good", "good enough"), ("good", "good enough"))
    said = said_by(chat("good", {"good": 0.9, "bad": 0.1}), labels)
    assert said.label == 0
    np.testing.assert_allclose(said.listed, [0.9, NAN])


def test_without_logprobs_there_is_a_label() -> None:
    assert not said_by(chat("good")).has_probabilities
    assert said_by(chat("I cannot say", {"I": 1.0})) is None
    assert said_by({"choices": [{"message": {"content": None}}]}) is None


def test_a_response_without_an_answer_is_none() -> None:
    for wrong in ({}, {"choices": []}, {"error": "no"}, [], {"choices": [{"text": "good"}]}):
        with pytest.raises(ValueError, match="no choices"):
            reduced(wrong)


def test_the_request_names_the_words_and_fields_can_be_added_and_left_out() -> None:
    labels = LabelSet(("0", "1"), ("negative", "positive"))
    body = chat_request("m", "One of: {labels}.", labels, "fine", {"top_logprobs": 5, "max_tokens": None, "seed": 1})
    assert body == {
        "model": "m",
        "messages": [{"role": "system", "content": "One of: negative, positive."}, {"role": "user", "content": "fine"}],
        "temperature": 0,
        "logprobs": True,
        "top_logprobs": 5,
        "seed": 1,
    }
