"""Texts that join the labelled rows: duplicates, what is held out, made-up ones, and the teacher's labels for them."""

import unicodedata
from collections.abc import Callable
from pathlib import Path

import made_setting
import numpy as np
import pytest
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from benchmarks.errors import TrimfitError
from optimizer.distillation.augmentation import (
    Neighbours,
    augmented,
    centred_means,
    nearest,
    neighbours_of,
    replaced,
    word_spans,
)
from optimizer.distillation.duplicates import fingerprint, fresh, normal_form
from optimizer.inference import predict
from optimizer.more_texts import read_more
from optimizer.progress import Silent
from optimizer.tasks import Rows, Task
from optimizer.teacher import encode_parts, prepare_teacher, untrained
from optimizer.training_rows import MoreTexts

Make = Callable[..., PreTrainedModel]
TEXTS = made_setting.TEXTS


def rows_of(*texts: str) -> Rows:
    return Rows(texts, np.zeros(len(texts), int))


# duplicates


def test_texts_are_the_same_whatever_their_case_punctuation_spaces_and_encoding() -> None:
    decomposed = unicodedata.normalize("NFD", "Ẹ̀kọ́")
    assert normal_form(f" {decomposed},  DÁRA!") == normal_form("ẹ̀kọ́ dára")
    assert fingerprint("ጥሩ ፊልም።") == fingerprint("ጥሩ  ፊልም")
    assert fingerprint("not good") != fingerprint("good")
    assert fingerprint("ọkọ") != fingerprint("oko"), "marks tell words apart"
    assert fingerprint("👍") != fingerprint("👎")


def test_copies_and_what_is_held_out_are_counted_and_left_out() -> None:
    texts = ["New one.", "known", "new  ONE", "secret", "another"]
    kept, dropped = fresh(texts, {fingerprint("Known!")}, {fingerprint("Secret.")})
    assert kept == ["New one.", "another"]
    assert dropped == {"copies of other texts": 2, "held out": 1}
    assert fresh(texts, set(), set(), most=1) == (["New one."], {})


# augmentation


def words(text: str) -> list[str]:
    return [text[start:end] for start, end in word_spans(text)]


def test_words_are_between_spaces_without_the_punctuation_around_them() -> None:
    assert words('He said: "it\'s (very) good"!  ...') == ["He", "said", "it's", "very", "good"]
    assert words("ጥሩ ፊልም።") == ["ጥሩ", "ፊልም"]
    decomposed = unicodedata.normalize("NFD", "ẹ̀kọ́")
    assert words(f"«{decomposed}»") == [decomposed]


def test_a_word_is_the_mean_of_its_pieces_less_what_all_share() -> None:
    table = np.array([[0.0, 0], [2, 0], [0, 4], [4, 2]])
    np.testing.assert_allclose(
        centred_means([[0, 1], [2], [3]], table), [[1 - 5 / 3, -2], [-5 / 3, 2], [4 - 5 / 3, 0]], atol=1e-6
    )


def test_neighbours_are_nearest_by_angle() -> None:
    vectors = np.array([[1.0, 0], [9, 1], [0, 1], [-1, 0]])
    assert nearest(vectors, 2).tolist() == [[1, 2], [0, 2], [1, 0], [2, 1]]
    assert nearest(vectors, 15).shape == (4, 3)


def test_words_that_recur_are_replaced_by_others_of_the_texts(tokenizer: PreTrainedTokenizerFast) -> None:
    texts = ("Good film", "good end", "bad film .", "bad end zzz zzz", "zzz", "once")
    table = np.zeros((24, 2))
    names = tokenizer.get_vocab()
    for word, place in {"good": [1, 0.1], "bad": [1, -0.1], "film": [-1, 0.1], "end": [-1, -0.1]}.items():
        table[names[word]] = place
    found = neighbours_of(texts, tokenizer, table)
    assert {word: candidates[0] for word, candidates in found.candidates.items()} == {
        "good": "bad", "bad": "Good", "film": "end", "end": "film",
    }  # fmt: skip
    assert found.of("FILM")[0] == "end"
    assert found.of("zzz") == (), "the tokenizer does not know it"
    assert found.of("once") == ()


def test_only_the_words_change_and_only_by_the_seed() -> None:
    neighbours = Neighbours({"good": ("bad",), "film": ("plot", "end")})
    rng = np.random.default_rng(0)
    assert replaced("A (good) one, GOOD!", neighbours, rng, p_t=1) == "A (bad) one, bad!"
    assert replaced("A good film", neighbours, rng, p_t=0) == "A good film"
    texts = ["good film", "film"]
    first, again, other = (list(augmented(texts, neighbours, 8, seed)) for seed in (0, 0, 1))
    assert first == again != other
    assert len(first) == 16
    assert all(("film" in text) or ("plot" in text) or ("end" in text) for text in first)
    share = np.mean([text == "film" for text in augmented(["film"], neighbours, 2000, 0)])
    assert share == pytest.approx(0.6, abs=0.04), "TinyBERT replaces with probability 0.4"


# what joins


def test_files_are_read_and_freed_of_what_may_not_be_used(tmp_path: Path) -> None:
    lines, table = tmp_path / "more.txt", tmp_path / "more.jsonl"
    lines.write_text("The film was GOOD!\nnew one\n\nsecret dev\nElsewhere\n", encoding="utf-8")
    table.write_text('{"text": "New One", "x": 1}\n{"text": "newer", "x": 2}\n', encoding="utf-8")
    task = Task(("a", "b"), rows_of("the film was good"), rows_of("Secret dev."), rows_of("secret test"))
    more = read_more([lines, table], "text", 0, task, [rows_of("elsewhere")])
    assert more.unlabelled == ("new one", "newer")
    assert more.dropped == {"copies of other texts": 2, "held out": 2}
    assert fingerprint("Secret, test") in more.held_out
    with pytest.raises(TrimfitError, match="give --unlabelled a text or data file"):
        read_more([tmp_path / "none.txt"], "text", 0, task, [])
    with pytest.raises(TrimfitError, match="got --augment -1"):
        read_more([], "text", -1, task, [])


def test_unlabelled_texts_come_first_and_no_more_than_there_is_room_for(tokenizer: PreTrainedTokenizerFast) -> None:
    labelled, table = rows_of(*TEXTS, *TEXTS[::-1]), np.random.default_rng(0).normal(size=(24, 4))
    more = MoreTexts(("one", "two", "three"), 4, frozenset({fingerprint("the cast was good")}), {"held out": 1})
    joined = more.join(labelled, 8, tokenizer, table, seed=0)
    assert joined.texts[:3] == ("one", "two", "three")
    assert len(joined.texts) == 8
    assert len(set(map(fingerprint, (*TEXTS, *joined.texts)))) == len(TEXTS) + 8, "none is a copy"
    assert joined.facts.model_dump() == {
        "rows": "all", "labelled": 12, "unlabelled": 3, "unlabelled_dropped": {"held out": 1}, "augmented": 5,
    }  # fmt: skip
    few = more.join(labelled, 2, tokenizer, table, seed=0)
    assert set(few.texts) < {"one", "two", "three"}
    assert few.facts.unlabelled_dropped == {"held out": 1, "more than the minutes allow": 1}
    assert more.join(labelled, -5, tokenizer, table, seed=0).texts == ()


def test_the_teacher_labels_what_joins(
    classifier_folder: Path, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    rows = Rows(TEXTS, np.arange(6) % 3)
    model, task = untrained(classifier_folder, Task(("bad", "mixed", "good"), rows, rows, None), seed=0)
    encoded, most = encode_parts(task, tokenizer, 32, None)
    teacher = prepare_teacher(
        classifier_folder, model, task, encoded, tokenizer, effort=made_setting.EFFORT, seed=0, work=tmp_path / "work",
        progress=Silent(), max_tokens=most, more=MoreTexts(("a fine end", "so very dull")),
    )  # fmt: skip
    assert teacher.joined_texts == ("a fine end", "so very dull")
    assert teacher.train.input_ids[:6] == encoded["train"].input_ids
    assert teacher.train.labels[:6].tolist() == task.train.labels.tolist()
    answers = predict(teacher.model, teacher.train)
    np.testing.assert_allclose(teacher.train.teacher_logits, answers, atol=0.1)  # computed in bf16 where that is fast
    assert teacher.train.labels[6:].tolist() == teacher.train.teacher_logits[6:].argmax(1).tolist()
    assert (teacher.training.labelled, teacher.training.unlabelled) == (6, 2)
