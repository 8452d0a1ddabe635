"""Rules of a trimmed vocabulary: what was seen is written as before, what was not can still be written."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from benchmarks.errors import TrimfitError
from optimizer.encoding import Encoded, encode
from optimizer.inference import predict
from optimizer.model_folder import load, save
from optimizer.tasks import Rows, Task
from optimizer.teacher import Teacher, load_tokenizer
from optimizer.vocabulary import check_choice, fit_vocabulary
from optimizer.vocabulary.pieces import matched_before_failing, unigram_kept, wordpiece_kept
from optimizer.vocabulary.stage import LEAST_SAVING
from optimizer.vocabulary.table import keep_tokens, pinned_ids, share_of_table
from optimizer.vocabulary.texts import read_texts
from optimizer.vocabulary.tokenizer_file import kept_with, with_fewer
from optimizer.vocabulary.trimming import trim

Make = Callable[..., PreTrainedModel]

SPECIAL = ["[CLS]", "[PAD]", "[SEP]", "[UNK]"]
LETTERS = "abcdef"
LONG = ["abc", "bad", "fed", "face", "##de", "##def", "##bad", "##ce", "ab", "##ab", "deaf", "##fab"]
WORDPIECES = [*SPECIAL, *LONG, *LETTERS, *(f"##{letter}" for letter in LETTERS)]
MARK = "\N{LOWER ONE EIGHTH BLOCK}"
UNIGRAM = [
    *((token, 0.0) for token in ("<s>", "<pad>", "</s>", "<unk>")),
    *(
        (piece, -2.0 - i / 7)
        for i, piece in enumerate([f"{MARK}ab", "cde", f"{MARK}fa", "bc", f"{MARK}fed", "de", "abc"])
    ),
    (MARK, -3.0),
    *((letter, -6.0 - i / 5) for i, letter in enumerate(LETTERS)),
    ("\u12a0\u1208", -4.0),  # Ethiopic
    ("\u12a0", -7.5),
    ("\u1208", -7.6),
    ("zz", -20.0),
]


def wordpiece(vocabulary: list[str] = WORDPIECES, added: tuple[str, ...] = ()) -> PreTrainedTokenizerFast:
    """A BERT tokenizer; `added` tokens come behind the model's."""
    ids = {piece: i for i, piece in enumerate(vocabulary)}
    backend = Tokenizer(models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=400))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.BertProcessing(("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"]))
    backend.add_special_tokens(list(added))
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, cls_token="[CLS]", pad_token="[PAD]", sep_token="[SEP]", unk_token="[UNK]",
        additional_special_tokens=list(added), model_max_length=32,
    )  # fmt: skip


def unigram(pieces: list[tuple[str, float]] = UNIGRAM) -> PreTrainedTokenizerFast:
    """An XLM-R tokenizer."""
    backend = Tokenizer(models.Unigram(pieces, unk_id=3))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement=MARK, prepend_scheme="always")]
    )
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", sep_token="</s>", cls_token="<s>",
        unk_token="<unk>", pad_token="<pad>", model_max_length=32,
    )  # fmt: skip


def spec_of(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    return json.loads(tokenizer.backend_tokenizer.to_str())


def fewer(tokenizer: PreTrainedTokenizerFast, used: set[int]) -> Tokenizer:
    spec = spec_of(tokenizer)
    return Tokenizer.from_str(json.dumps(with_fewer(spec, kept_with(spec, used))[0]))


def tokens(backend: Tokenizer, text: str) -> list[str]:
    return backend.encode(text).tokens


# which pieces stay


def test_of_wordpieces_every_letter_stays_and_what_is_spelled_with_them_goes() -> None:
    vocabulary = {piece: i for i, piece in enumerate(WORDPIECES)}
    kept = wordpiece_kept(vocabulary, {vocabulary["bad"]})
    gone = {piece for piece, i in vocabulary.items() if i not in kept}
    assert gone == {"abc", "fed", "face", "##de", "##def", "##bad", "##ce", "ab", "##ab", "deaf", "##fab"}


def test_a_wordpiece_with_a_letter_that_has_none_stays() -> None:
    vocabulary = {piece: i for i, piece in enumerate(["a", "##a", "b", "ab", "aa", "##ba"])}
    assert wordpiece_kept(vocabulary, ()) == {0, 1, 2, 3, 5}  # there is no ##b: only aa can be spelled


def test_the_longest_match_is_taken_until_nothing_matches() -> None:
    vocabulary = {"ab": 0, "a": 1, "##b": 2, "##bx": 3, "##c": 4}
    assert matched_before_failing("abc", vocabulary) == [0, 4]
    assert matched_before_failing("abx", vocabulary) == [0]
    assert matched_before_failing("xab", vocabulary) == []


def test_of_a_unigram_vocabulary_letters_near_the_used_ones_stay() -> None:
    names = [piece for piece, _ in UNIGRAM]
    kept = {names[i] for i in unigram_kept(UNIGRAM, {names.index("cde"), 3})}
    assert kept == {"cde", "<unk>", MARK, *LETTERS, "zz"}, "zz has the least score, on which unknown letters depend"
    ethiopic = {names[i] for i in unigram_kept(UNIGRAM, {names.index("\u12a0\u1208")})}
    assert {"\u12a0", "\u1208"} <= ethiopic


def test_bytes_stay() -> None:
    pieces = [("<unk>", 0.0), ("<0x0A>", -1.0), ("<0xFF>", -1.0), ("ab", -1.0), ("cd", -9.0)]
    assert unigram_kept(pieces, {0}) == {0, 1, 2, 4}


# the tokenizer

WORDS = st.text(LETTERS, min_size=1, max_size=9)
SENTENCES = st.lists(st.lists(WORDS, min_size=1, max_size=4).map(" ".join), min_size=1, max_size=4)


@settings(max_examples=60, deadline=None)
@given(seen=SENTENCES, unseen=SENTENCES)
def test_seen_texts_keep_their_wordpieces_and_no_word_becomes_unknown(seen: list[str], unseen: list[str]) -> None:
    whole = wordpiece()
    trimmed = fewer(whole, {i for text in seen for i in whole(text)["input_ids"]})
    for text in seen:
        assert tokens(trimmed, text) == tokens(whole.backend_tokenizer, text)
    for text in unseen:
        found = tokens(trimmed, text)
        assert "[UNK]" not in found
        assert "".join(found[1:-1]).replace("##", "") == text.replace(" ", "")


@settings(max_examples=60, deadline=None)
@given(seen=SENTENCES, unseen=SENTENCES, strange=st.booleans())
def test_seen_texts_keep_their_unigram_pieces_and_no_word_becomes_unknown(
    seen: list[str], unseen: list[str], strange: bool
) -> None:
    seen = [f"{text}z" if strange else text for text in seen]  # no piece is z
    whole = unigram()
    trimmed = fewer(whole, {i for text in seen for i in whole(text)["input_ids"]})
    for text in seen:
        assert tokens(trimmed, text) == tokens(whole.backend_tokenizer, text)
    for text in unseen:
        found = tokens(trimmed, text)
        assert 3 not in trimmed.encode(text).ids
        assert "".join(found[1:-1]).replace(MARK, "") == text.replace(" ", "")


def test_ids_are_numbered_anew_wherever_the_file_names_them() -> None:
    whole = wordpiece(["[UNK]", "zz", "[CLS]", "yy", "[SEP]", "[PAD]", *LETTERS], added=("[X]", "[Y]"))
    whole.backend_tokenizer.enable_padding(pad_id=5, pad_token="[PAD]")
    spec, order = with_fewer(spec_of(whole), {0, 2, 4, 5, 6})
    assert order == [0, 2, 4, 5, 6, 12, 13]
    assert spec["model"]["vocab"] == {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "[PAD]": 3, "a": 4}
    assert {token["content"]: token["id"] for token in spec["added_tokens"]} == {
        "[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "[PAD]": 3, "[X]": 5, "[Y]": 6,
    }  # fmt: skip
    assert spec["post_processor"] == {"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]}
    assert spec["padding"]["pad_id"] == 3
    assert Tokenizer.from_str(json.dumps(spec)).encode("a [Y]").ids[:4] == [1, 4, 6, 2]


def test_ids_in_a_template_are_numbered_anew() -> None:
    pieces = [("zz", -9.0), *UNIGRAM[:4], ("a", -1.0), (MARK, -1.0)]
    backend = Tokenizer(models.Unigram(pieces, unk_id=4))
    template = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 3)])
    backend.post_processor = processors.Sequence([template])
    spec, order = with_fewer(json.loads(backend.to_str()), {1, 3, 4, 5})
    assert order == [1, 3, 4, 5]
    assert spec["model"]["unk_id"] == 2
    assert Tokenizer.from_str(json.dumps(spec)).encode("a").ids == [0, 3, 1]


def test_a_trimmed_tokenizer_is_a_folder_that_loads_alone(tmp_path: Path) -> None:
    whole = wordpiece(added=("[X]",))
    whole(["face"], truncation=True, max_length=4)  # leaves its limit behind
    trimmed = trim(whole, ["a bad face", "[X] fed"], tmp_path / "it")
    again = load_tokenizer(tmp_path / "it")
    for text in ("a bad face", "[X] fed", "deaf"):
        assert again(text)["input_ids"] == trimmed.tokenizer(text)["input_ids"]
    for text in ("a bad face", "[X] fed"):
        ids = trimmed.tokenizer(text)["input_ids"]
        assert [trimmed.kept[i] for i in ids] == whole(text)["input_ids"]
    assert again.model_max_length == 32
    assert again.pad_token == "[PAD]"
    assert len(again) == len(trimmed.kept) < len(whole)
    assert not {"deaf", "abc"} & set(again.get_vocab())
    saved = tmp_path / "saved"
    again.save_pretrained(saved)
    stale = [path.name for path in saved.iterdir() if "deaf" in path.read_text(encoding="utf-8")]
    assert stale == []


def test_a_word_that_was_unknown_stays_unknown(tmp_path: Path) -> None:
    whole = wordpiece([*SPECIAL, "ab", "a", "b", "##a", "##b", "##bx", "c", "##c"])
    assert whole.tokenize("abx") == ["[UNK]"]
    trimmed = trim(whole, ["abx c"], tmp_path / "it")
    assert trimmed.tokenizer.tokenize("abx c") == ["[UNK]", "c"]


def test_rows_are_written_in_new_ids_and_what_is_gone_is_counted(tmp_path: Path) -> None:
    whole = wordpiece()
    trimmed = trim(whole, ["bad"], tmp_path / "it")
    rows = encode(Rows(("bad bad", "bad fed"), np.array([0, 1])), whole, 16)
    first, second = trimmed.renumbered(rows).input_ids
    assert first == trimmed.tokenizer("bad bad")["input_ids"]
    assert second[2] == -1
    assert trimmed.gone(rows, around=(0, 2)) == 1 / 4
    assert trimmed.renumbered(rows).pad_token_id == trimmed.tokenizer.pad_token_id


def test_tokenizers_of_other_kinds_are_refused(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    with pytest.raises(TrimfitError, match="got a WordLevel tokenizer, expected WordPiece or Unigram"):
        trim(tokenizer, ["a film"], tmp_path / "it")
    assert not (tmp_path / "it").exists()


# the model


def test_logits_are_the_same_bit_for_bit_in_the_new_ids(family: str, make_classifier: Make) -> None:
    whole, cut = make_classifier(family), make_classifier(family)
    kept = (0, 1, 2, 3, 7, 12, 20)
    keep_tokens(cut, kept)
    rows = torch.tensor([[0, 20, 7, 2], [0, 12, 2, 1]])
    new = torch.tensor([[kept.index(i) for i in row] for row in rows.tolist()])
    mask = (rows != 1).long()
    assert torch.equal(cut(new, attention_mask=mask).logits, whole(rows, attention_mask=mask).logits)
    assert cut.config.vocab_size == 7 == cut.get_input_embeddings().num_embeddings


def test_a_cut_table_is_saved_and_loaded(family: str, make_classifier: Make, tmp_path: Path) -> None:
    cut = keep_tokens(make_classifier(family), (0, 1, 2, 3, 9))
    save(cut, None, tmp_path)
    again = load(tmp_path)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in cut.state_dict().items())
    rows = torch.tensor([[0, 4, 3, 2]])
    torch.testing.assert_close(again(rows).logits, cut(rows).logits)  # weights lie elsewhere: rounding differs


def test_padding_follows_its_token(make_classifier: Make) -> None:
    cut = keep_tokens(make_classifier("bert"), (0, 4, 1, 5))
    assert cut.config.pad_token_id == cut.get_input_embeddings().padding_idx == 2


def test_padding_stays_where_positions_are_counted_from_it(make_classifier: Make) -> None:
    model = make_classifier("xlm-roberta")
    model.config.pad_token_id = 3
    assert pinned_ids(model, 3) == {0, 1, 2, 3}
    assert pinned_ids(make_classifier("bert"), 3) == {1, 3}


def test_a_tokenizer_of_another_model_is_refused(make_classifier: Make) -> None:
    with pytest.raises(TrimfitError, match="the tokenizer has token 99, the model's embedding 24 rows"):
        keep_tokens(make_classifier(), (0, 99))


# the stage of the main job

TRAIN = ("a bad face", "fed", "bad abc", "face fed")
DEV = ("bad face", "deaf fed", "fed fed", "abc")


class Said:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)

    def step(self, title: str) -> Any:
        from contextlib import nullcontext

        return nullcontext(lambda share: None)


def a_teacher(make: Make, whole: PreTrainedTokenizerFast, rows: int) -> Teacher:
    """With `rows` in its embedding, of which the tokenizer knows the first."""
    torch.manual_seed(0)
    model = make("bert")
    model.resize_token_embeddings(rows)
    with torch.no_grad():
        model.get_input_embeddings().weight.normal_(0, 0.3)
    parts = {name: Rows(texts, np.arange(4) % 3) for name, texts in (("train", TRAIN), ("dev", DEV), ("test", DEV))}
    task = Task(("bad", "mixed", "good"), **parts)
    encoded = {name: encode(part, whole, 16) for name, part in parts.items()}
    with_answers = {name: encoded[name].with_teacher(predict(model, encoded[name])) for name in ("train", "dev")}
    return Teacher(model, task, with_answers["train"], with_answers["dev"], encoded["test"])


def fit(choice: str | None, teacher: Teacher, whole: Any, work: Path, said: Said, more: tuple[str, ...] = ()) -> Any:
    return fit_vocabulary(choice, teacher, whole, more, 16, work, said)


def test_a_trimmed_teacher_answers_training_rows_as_before(make_classifier: Make, tmp_path: Path) -> None:
    whole, said = wordpiece(), Said()
    teacher = a_teacher(make_classifier, whole, 1000)
    start = fit("trim", teacher, whole, tmp_path / "work", said)
    assert np.array_equal(predict(start.model, start.train), predict(teacher.model, teacher.train))
    assert np.array_equal(start.train.teacher_logits, teacher.train.teacher_logits)
    answers = predict(start.model, start.dev)
    same = [i for i, text in enumerate(DEV) if "deaf" not in text]
    np.testing.assert_allclose(answers[same], teacher.dev.teacher_logits[same], atol=1e-5)  # padded to other lengths
    assert start.tokenizer.tokenize("deaf") == ["d", "##e", "##a", "##f"]
    facts = start.facts
    assert (facts.tokens_before, facts.tokens) == (1000, len(start.tokenizer))
    assert facts.parameters_removed == (1000 - facts.tokens) * 16
    assert facts.dev_changed == facts.test_changed == 1 / 7, "one of seven words, [CLS] and [SEP] not counted"
    assert facts.dev == pytest.approx((answers.argmax(1) == teacher.dev.labels).mean())
    assert said.lines == [str(facts)]


def test_texts_that_a_person_names_keep_their_tokens(make_classifier: Make, tmp_path: Path) -> None:
    whole = wordpiece()
    teacher = a_teacher(make_classifier, whole, 1000)
    start = fit("trim", teacher, whole, tmp_path / "work", Said(), more=("deaf",))
    assert start.tokenizer.tokenize("deaf") == ["deaf"]
    assert start.facts.dev_changed == 0
    assert start.facts.dev == start.facts.dev_before


def test_unasked_only_a_large_share_of_unused_tokens_goes(make_classifier: Make, tmp_path: Path) -> None:
    whole = wordpiece()
    small = a_teacher(make_classifier, whole, len(WORDPIECES))
    assert share_of_table(small.model) < LEAST_SAVING
    said = Said()
    start = fit(None, small, whole, tmp_path / "small", said)
    assert (start.facts, start.model, said.lines) == (None, small.model, [])
    pieces = [*WORDPIECES, *(f"f{'e' * n}d" for n in range(2, 300))]
    crowded = wordpiece(pieces)
    half = a_teacher(make_classifier, crowded, len(pieces))
    texts = tuple(f"f{'e' * n}d" for n in range(2, 200))
    start = fit(None, half, crowded, tmp_path / "half", said, more=texts)
    assert start.facts is None
    assert "of the parameters are tokens without use; --vocabulary trim removes them" in said.lines[-1]
    large = a_teacher(make_classifier, whole, 1000)
    assert fit("keep", large, whole, tmp_path / "keep", said).facts is None


def test_unasked_nothing_goes_that_costs_dev_score(
    make_classifier: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, said = wordpiece(), Said()
    large = a_teacher(make_classifier, whole, 1000)
    assert fit(None, large, whole, tmp_path / "fine", said).facts is not None or "would fall" in said.lines[-1]
    labels = large.dev.teacher_logits.argmax(1)
    large = Teacher(large.model, large.task, large.train, Encoded(large.dev.input_ids, labels, 1), large.test)
    right = predict(large.model, large.dev)
    large = Teacher(large.model, large.task, large.train, large.dev.with_teacher(right), large.test)
    monkeypatch.setattr("optimizer.vocabulary.stage._answers", lambda *_: -right)
    monkeypatch.setattr("optimizer.vocabulary.stage.predict", lambda *_: -right)
    start = fit(None, large, whole, tmp_path / "lost", said)
    assert start.facts is None
    assert "the teacher's dev score would fall from 1.0000 to 0.0000" in said.lines[-1]
    assert fit("trim", large, whole, tmp_path / "lost", said).facts is not None, "asked for, it is done and said"


def test_a_trimmed_vocabulary_is_read_again(
    make_classifier: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = wordpiece()
    teacher = a_teacher(make_classifier, whole, 1000)
    first = fit("trim", teacher, whole, tmp_path, Said())
    monkeypatch.setattr("optimizer.vocabulary.stage.trim", None)
    again = fit("trim", teacher, whole, tmp_path, Said())
    assert again.facts == first.facts
    assert again.train.input_ids == first.train.input_ids


def test_a_tokenizer_that_cannot_be_trimmed_is_told_or_refused(
    make_classifier: Make, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    teacher, said = a_teacher(make_classifier, tokenizer, 1000), Said()
    assert fit(None, teacher, tokenizer, tmp_path, said).facts is None
    assert said.lines[0].startswith("the vocabulary stays whole: got a WordLevel tokenizer")
    with pytest.raises(TrimfitError, match="use --vocabulary keep"):
        fit("trim", teacher, tokenizer, tmp_path, said)


def test_what_cannot_be_done_is_refused_at_once(tokenizer: PreTrainedTokenizerFast) -> None:
    check_choice("trim", wordpiece())
    check_choice(None, tokenizer)
    with pytest.raises(TrimfitError, match="got --vocabulary half, expected one of keep, trim"):
        check_choice("half", tokenizer)
    with pytest.raises(TrimfitError, match="which keeps all"):
        check_choice("keep", tokenizer, [Path("words.txt")])
    with pytest.raises(TrimfitError, match="got a WordLevel tokenizer"):
        check_choice("trim", tokenizer)
    with pytest.raises(TrimfitError, match="got a slow tokenizer"):
        check_choice("trim", object())
    with pytest.raises(TrimfitError, match=r"no such file: words\.txt"):
        check_choice(None, tokenizer, [Path("words.txt")])


def test_texts_are_lines_or_a_column(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n\ntwo\n")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress("o\u0323ro\n".encode()))
    (tmp_path / "c.jsonl").write_text('{"body": "three"}\n{"body": null}\n')
    assert [text.strip() for text in read_texts(tmp_path / "a.txt", "text")] == ["one", "two"]
    assert [text.strip() for text in read_texts(tmp_path / "b.txt.gz", "text")] == ["o\u0323ro"]
    assert list(read_texts(tmp_path / "c.jsonl", "body")) == ["three"]
    with pytest.raises(TrimfitError, match="no column 'text'"):
        list(read_texts(tmp_path / "c.jsonl", "text"))
    (tmp_path / "d.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(TrimfitError, match="is not UTF-8 text"):
        list(read_texts(tmp_path / "d.txt", "text"))
