"""A checkpoint that a person gives: read in the teacher's order, written in its own tokens, judged by what it takes."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import made_setting as made
import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from benchmarks.errors import TrimfitError
from benchmarks.workload import Workload
from hardware_profiles.latency_model import Prediction
from optimizer import workflow
from optimizer.architecture import Architecture
from optimizer.candidates import Candidate
from optimizer.compression import Student, distil_given, predicted_ms
from optimizer.decision import Decision, decide, finalists
from optimizer.decision_record import RaceHeat
from optimizer.distillation.minilm import MiniLMv2
from optimizer.distillation.objectives import SoftTargets
from optimizer.distillation.tinybert import TinyBert
from optimizer.encoding import Encoded, encode
from optimizer.evaluation.held_out import HeldOut
from optimizer.given_student import fit_given, read_given
from optimizer.inference import predict
from optimizer.model_folder import load, save
from optimizer.progress import Silent
from optimizer.pruning.patterns import Given
from optimizer.race import race
from optimizer.setting import Setting
from optimizer.target import LatencyMs, MaxDrop
from optimizer.tasks import Rows, Task
from optimizer.teacher import Teacher
from optimizer.vocabulary import Start

Make = Callable[..., PreTrainedModel]
SMALL = {"hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1}
LABELS = ("bad", "mixed", "good")
WORKLOAD = Workload(batch=1, seq_len=8, threads=1)
TEXTS = made.TEXTS


class Said(Silent):
    """Progress that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, sentence: str) -> None:
        self.lines.append(sentence)


def task() -> Task:
    rows = Rows(TEXTS, np.arange(6) % 3)
    return Task(LABELS, rows, rows, rows)


def another_tokenizer(*words: str) -> PreTrainedTokenizerFast:
    """Words by white space, of which it knows these, with other ids than the teacher's."""
    ids = {word: i for i, word in enumerate(("[PAD]", "[UNK]", "[CLS]", "[SEP]", *words))}
    backend = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, cls_token="[CLS]", pad_token="[PAD]", sep_token="[SEP]", unk_token="[UNK]",
        model_max_length=32, model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip


def saved(model: PreTrainedModel, tokenizer: Any, folder: Path) -> Path:
    save(model, tokenizer, folder)
    return folder


@pytest.fixture
def folder(make_classifier: Make, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> Path:
    return saved(make_classifier(seed=3, **SMALL), tokenizer, tmp_path / "small")


def teacher_of(model: PreTrainedModel, tokenizer: Any) -> Teacher:
    rows = encode(task().train, tokenizer, 16)
    rows = rows.with_teacher(predict(model, rows))
    return Teacher(model, task(), rows, rows, rows, TEXTS)


# reading


def test_logits_follow_the_teachers_order_of_labels(
    make_classifier: Make, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    model = make_classifier(seed=3, **SMALL)
    model.config.id2label = {0: "GOOD", 1: "BAD", 2: "MIXED"}
    given = read_given(saved(model, tokenizer, tmp_path / "small"), task(), tokenizer, WORKLOAD, seed=0)
    rows = encode(task().dev, tokenizer, 16)
    np.testing.assert_array_equal(predict(given.model, rows), predict(model, rows)[:, [1, 2, 0]])
    assert [given.model.config.id2label[i] for i in range(3)] == list(LABELS)
    assert not given.own_tokenizer
    assert str(given) == "given student: 1 layer, 8 wide, the teacher's tokenizer"


def test_an_encoder_gets_a_head(encoder_folder: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    given = read_given(encoder_folder, task(), tokenizer, WORKLOAD, seed=0)
    assert given.model.config.num_labels == 3


def test_what_cannot_be_a_student_is_refused_in_one_line(
    folder: Path, make_classifier: Make, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    with pytest.raises(TrimfitError, match="takes 32 tokens a row, expected the 40 that are asked of it"):
        read_given(folder, task(), tokenizer, Workload(seq_len=40), seed=0)
    two = replace(task(), labels=("bad", "good"))
    with pytest.raises(TrimfitError, match="classifies into bad, mixed, good, the teacher into bad, good"):
        read_given(folder, two, tokenizer, WORKLOAD, seed=0)
    letters = another_tokenizer(*"adefghilmnoprstuvwy")
    letters.backend_tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    wordy = saved(make_classifier(**SMALL), letters, tmp_path / "letters")
    with pytest.raises(TrimfitError, match=r"x the teacher's tokens, expected at most 1.05x"):
        read_given(wordy, task(), tokenizer, WORKLOAD, seed=0)


# rows


def fitted(
    folder: Path, teacher: PreTrainedModel, tokenizer: Any, *, objective: Any = None, kept: tuple[int, ...] = ()
) -> tuple[Any, Said]:
    said, answered = Said(), teacher_of(teacher, tokenizer)
    given = read_given(folder, task(), tokenizer, WORKLOAD, seed=0)
    start = Start(teacher, tokenizer, answered.train, answered.dev, answered.test, kept=kept)
    held_out = (HeldOut("test", task().test, answered.test, answered.test),)
    return fit_given(given, answered, start, held_out, objective or SoftTargets(), 16, said), said


def test_rows_are_written_in_the_students_own_tokens(
    make_classifier: Make, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    own, teacher = another_tokenizer("good", "film", "was", "the"), make_classifier()
    given, said = fitted(saved(make_classifier(**SMALL), own, tmp_path / "small"), teacher, tokenizer)
    assert given.train.input_ids[0] == [2, 7, 5, 6, 4, 3], "[CLS] the film was good [SEP]"
    assert given.train.pad_token_id == 0
    assert given.train.input_ids == given.dev.input_ids == given.test.input_ids == given.held_out[0].student.input_ids
    np.testing.assert_array_equal(given.train.teacher_logits, teacher_of(teacher, tokenizer).train.teacher_logits)
    assert given.held_out[0].teacher.input_ids[0][0] == 0, "the teacher's stay"
    assert said.lines == ["given student: 1 layer, 8 wide, its own tokenizer, 1.00x the tokens"]


def test_with_the_teachers_tokenizer_the_same_tokens_go(
    folder: Path, make_classifier: Make, tokenizer: PreTrainedTokenizerFast
) -> None:
    kept = tuple(range(12))
    given, _ = fitted(folder, make_classifier(), tokenizer, kept=kept)
    assert given.trimmed
    table = load(folder).get_input_embeddings().weight
    assert torch.equal(given.model.get_input_embeddings().weight, table[:12])


def test_layers_are_compared_only_where_they_can_be(
    folder: Path, make_classifier: Make, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    teacher = make_classifier()
    assert fitted(folder, teacher, tokenizer, objective=MiniLMv2())[0].objective == MiniLMv2()
    given, said = fitted(folder, teacher, tokenizer, objective=TinyBert())
    assert given.objective == SoftTargets()
    assert "answers only: got 2 heads in layer 0 of the student and 4" in said.lines[-1]
    other = saved(make_classifier(**SMALL), another_tokenizer("good"), tmp_path / "other")
    given, said = fitted(other, teacher, tokenizer, objective=MiniLMv2())
    assert given.objective == SoftTargets()
    assert said.lines[-1].endswith("layers can only be compared on the same tokens")


# deciding and distilling


MS = {"given student fp32": 1.5, "given student int8": 0.8}


@pytest.fixture
def setting(make_classifier: Make, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> Callable[..., Setting]:
    """A teacher that takes 6 ms with a student of another width and tokenizer, whose milliseconds are known."""

    def make(ms: dict[str, float] = MS, **options: Any) -> Setting:
        work = tmp_path / "work"
        (work / "given").mkdir(parents=True)
        note = {name: vars(Prediction(each, 0.9 * each, 1.1 * each)) for name, each in ms.items()}
        (work / "given" / "latency.json").write_text(json.dumps(note))
        setting = made.setting(make_classifier(), tokenizer, work, **options)
        own = another_tokenizer("good", "film", "was", "the", "bad", "dull", "fine")
        student_rows = Encoded(
            tuple([2, *(4 + (i % 7) for i in ids[1:-1]), 3] for ids in setting.train.input_ids),
            setting.train.labels,
            0,
            setting.train.teacher_logits,
        )
        given, _ = fitted(saved(make_classifier(seed=3, **SMALL), own, tmp_path / "small"), setting.teacher, tokenizer)
        given = replace(given, train=student_rows, dev=student_rows)
        return replace(setting, given=given)

    return make


def the_given(decision: Decision) -> dict[str, Candidate]:
    return {c.name: c for c in decision.candidates if c.is_given}


def test_it_races_beside_the_others_at_the_precision_that_loses_least(setting: Callable[..., Setting]) -> None:
    decision = decide(setting(target=LatencyMs(2.0)))
    given = the_given(decision)
    assert given["given student fp32"].refused is None
    assert "of estimated loss before recovery" in given["given student int8"].refused
    assert given["given student fp32"].predicted.ms == 1.5
    assert given["given student fp32"].architecture.hidden_size == 8
    racing = [c for c in decision.candidates if not c.refused]
    assert len(racing) == made.EFFORT.finalists + 1, "it takes no other's place"


def test_it_is_refused_where_it_is_too_slow_or_not_allowed(setting: Callable[..., Setting]) -> None:
    made_setting = setting(target=LatencyMs(1.0))
    given = the_given(decide(made_setting))
    assert given["given student fp32"].refused == "given student fp32: 1.50 ms measured, 1.00 ms wanted"
    assert given["given student int8"].refused is None
    only = the_given(decide(replace(made_setting, precision="fp32")))
    assert only["given student int8"].refused == "given student int8: only fp32 was allowed"
    only = the_given(decide(replace(made_setting, pattern="width")))
    assert only["given student int8"].refused == "given student int8: only width was allowed"
    alone = decide(replace(made_setting, pattern="given"))
    assert [c.name for c in alone.candidates if not c.refused] == ["given student int8"]


def test_without_a_given_student_nothing_changes(setting: Callable[..., Setting]) -> None:
    made_setting = setting(target=LatencyMs(2.0))
    without = decide(replace(made_setting, given=None))
    assert [c for c in decide(made_setting).candidates if not c.is_given] == list(without.candidates)
    assert replace(made_setting, given=None).seen_by(without.candidates[0]).tokenizer is made_setting.tokenizer


def test_a_record_gives_the_candidate_back(setting: Callable[..., Setting]) -> None:
    made_setting = setting()
    (candidate,) = finalists([c for c in the_given(decide(made_setting)).values() if not c.refused], 1)
    record = candidate.record(6.0, chosen=True)
    assert (record.cut, record.pattern, record.hidden_size) == ("given", "given", 8)
    again = Candidate.from_record(record, made_setting.given.origin.after)
    assert again.architecture == candidate.architecture
    assert isinstance(again.pattern, Given)


def test_it_is_raced_and_distilled_in_its_own_tokens(setting: Callable[..., Setting]) -> None:
    made_setting = setting(target=LatencyMs(2.0), pays={"fp32": False, "int8": False})
    before = {name: value.clone() for name, value in made_setting.given.model.state_dict().items()}
    decision = race(made_setting, decide(made_setting))
    raced = the_given(decision)["given student fp32"]
    assert raced.race[0].steps > 0
    student = distil_given(made_setting, raced)
    assert student.rounds[0].name == "distillation"
    assert student.rounds[0].predicted_ms == predicted_ms(made_setting, raced, student) == 1.5
    assert student.origin.after == Architecture.of(made_setting.given.model)
    assert all(torch.equal(before[name], value) for name, value in made_setting.given.model.state_dict().items())
    again = distil_given(made_setting, raced)
    assert again.rounds == student.rounds, "a finished stage is not done again"


def test_a_given_student_that_loses_too_much_gives_way_to_the_next_best(
    setting: Callable[..., Setting], monkeypatch: pytest.MonkeyPatch
) -> None:
    made_setting = setting(target=MaxDrop(1), ms={"given student fp32": 0.1, "given student int8": 0.1})
    decision = decide(made_setting)
    winner = the_given(decision)["given student fp32"]
    first = next(c for c in decision.candidates if not c.refused and not c.is_given)
    following = replace(first, race=(RaceHeat(steps=1, dev=0.9, survived=True),))
    decision = replace(
        decision, winner=winner, candidates=tuple(following if c is first else c for c in decision.candidates)
    )
    student = Student(made_setting.given.untrained(), made_setting.given.origin)
    scored = iter([0.5, 1.0])
    monkeypatch.setattr(workflow, "distil_given", lambda *_: student)
    monkeypatch.setattr(workflow, "_deployed", lambda *_: SimpleNamespace(dev=next(scored)))
    monkeypatch.setattr(workflow, "_trail", lambda *_: [student, student])
    monkeypatch.setattr(workflow, "recover", lambda *_, **__: student)
    assert workflow._compressed(made_setting, decision) == (student, following)
    scored = iter([1.0])
    assert workflow._compressed(made_setting, decision) == (student, winner)
