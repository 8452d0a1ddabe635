"""A task with a black box's answers: which rows are asked about, what becomes of rows without a label or an answer."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_tasks import ROWS, write

from benchmarks.errors import TrimfitError
from optimizer.distillation.black_box import BlackBox
from optimizer.distillation.black_box.distribution import smoothed
from optimizer.distillation.black_box.label_set import LabelSet
from optimizer.distillation.black_box.lesson import Answers, Lesson, combined, rows_to_ask
from optimizer.distillation.black_box.outputs_file import ABSENT, OutputsFile, labels_in, outputs_by_text
from optimizer.distillation.black_box.said import OUTSIDE, Said
from optimizer.encoding import Encoded
from optimizer.evaluation.calibration import softmax
from optimizer.progress import Silent
from optimizer.tasks import UNLABELLED, Columns, Rows, Task, Unlabelled, read_task

NAN = np.nan
SURE, LIKELY = np.array([0.0, 1.0]), np.array([0.8, 0.2])


def said(q: np.ndarray) -> Said:
    return Said(int(q.argmax()), q)


def rows(*labels: int) -> Rows:
    return Rows(tuple(f"text {n}" for n in range(len(labels))), np.array(labels, dtype=int))


def lesson_of(task: Task, **answers: list) -> Lesson:
    """What follows from these answers, of all rows of each part."""
    told = {part: (np.arange(len(given)), given) for part, given in answers.items()}
    return Lesson.of("oracle", task, Answers.of(task, told))


def unlabelled_task() -> Task:
    none = rows(*[UNLABELLED] * 4)
    return Task(("a", "b"), none, none, rows(0, 1, 1, 1))


# what is read


def without(records: list[dict], name: str = "label") -> list[dict]:
    return [{key: value for key, value in record.items() if key != name} for record in records]


def test_texts_without_labels_are_read_where_a_teacher_will_give_them(tmp_path: Path) -> None:
    path = write(tmp_path, "all.jsonl", without(ROWS))
    with pytest.raises(TrimfitError, match="no column 'label'"):
        read_task(path, Columns())
    with pytest.raises(TrimfitError, match="name the classes with --labels a,b"):
        read_task(path, Columns(), unlabelled=Unlabelled())
    task = read_task(path, Columns(group="lang"), unlabelled=Unlabelled(("x", "y"), ("z", "w")))
    assert task.labels == ("x", "y")
    assert (len(task.train), len(task.dev), len(task.test)) == (160, 20, 20)
    assert all((part.labels == UNLABELLED).all() for part in task.parts.values())
    assert read_task(path, Columns(), unlabelled=Unlabelled((), ("z", "w"))).labels == ("z", "w")
    with pytest.raises(TrimfitError, match="no column 'stars'"):
        read_task(path, Columns(label="stars"), unlabelled=Unlabelled(("x", "y")))


def test_a_split_is_drawn_from_the_rows_with_labels_where_only_some_have_one(tmp_path: Path) -> None:
    some = [*ROWS[:80], *without(ROWS[80:])]
    task = read_task(write(tmp_path, "all.jsonl", some), Columns(), unlabelled=Unlabelled())
    assert task.labels == ("no", "yes")
    assert (len(task.train), len(task.dev), len(task.test)) == (160, 20, 20)
    assert sorted(np.bincount(task.dev.labels)) == [10, 10]
    assert (task.train.labels == UNLABELLED).sum() == 120


def test_labelled_dev_rows_stay_and_unlabelled_ones_beside_them_go(tmp_path: Path) -> None:
    write(tmp_path, "train.jsonl", without(ROWS[:100]))
    write(tmp_path, "dev.jsonl", [*ROWS[100:140], *without(ROWS[140:150])])
    write(tmp_path, "test.jsonl", without(ROWS[150:]))
    task = read_task(tmp_path, Columns(), unlabelled=Unlabelled())
    assert (len(task.train), len(task.dev), task.test) == (100, 40, None)
    assert task.dropped == {"dev text without a label": 10}


def test_the_same_rows_are_read_with_a_teacher_as_without_where_all_have_labels(tmp_path: Path) -> None:
    path = write(tmp_path, "all.jsonl", ROWS)
    plain, besides = read_task(path, Columns()), read_task(path, Columns(), unlabelled=Unlabelled())
    for part, known in plain.parts.items():
        assert besides.parts[part].texts == known.texts
        assert (besides.parts[part].labels == known.labels).all()


def test_a_label_that_was_not_named_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrimfitError, match="has the label 'no', expected one of --labels 0,yes"):
        read_task(write(tmp_path, "all.jsonl", ROWS), Columns(), unlabelled=Unlabelled(("0", "yes")))


def test_rows_without_a_label_stay_so_when_the_labels_change_their_order() -> None:
    task = Task(("a", "b"), rows(0, UNLABELLED, 1), rows(1), None).relabelled(("b", "c", "a"))
    assert task.train.labels.tolist() == [2, UNLABELLED, 0]


# what is asked


def test_held_out_rows_with_labels_are_asked_about_only_to_score_the_teacher() -> None:
    labelled = rows(*[0, 1] * 800)
    task = Task(("a", "b"), labelled, replace(labelled, labels=np.full(1600, UNLABELLED)), labelled)
    asked = rows_to_ask(task, 500, seed=0)
    assert {part: len(some) for part, some in asked.items()} == {"train": 500, "dev": 1600, "test": 1000}
    assert all((np.diff(some) > 0).all() for some in asked.values())
    assert (asked["train"] == rows_to_ask(task, 500, seed=0)["train"]).all()


# what is made of it


def test_rows_without_a_label_get_the_teachers() -> None:
    lesson = lesson_of(
        unlabelled_task(),
        train=[said(LIKELY), said(SURE), said(SURE), OUTSIDE],
        dev=[said(SURE), OUTSIDE, said(SURE), said(SURE)],
        test=[said(LIKELY), said(SURE), OUTSIDE, said(SURE)],
    )
    assert lesson.task.train.texts == ("text 0", "text 1", "text 2")
    assert lesson.task.train.labels.tolist() == [0, 1, 1]
    assert lesson.task.dev.labels.tolist() == [1, 1, 1]
    assert lesson.task.test.labels.tolist() == [0, 1, 1, 1], "its own"
    assert lesson.by_teacher == ("train", "dev")
    assert lesson.answers.without == {OUTSIDE: 3}
    assert (lesson.score("dev"), lesson.score("test")) == (None, 1.0)


def test_a_training_row_with_a_label_is_taught_by_it_where_the_teacher_is_silent() -> None:
    task = Task(("a", "b"), rows(1, 0, UNLABELLED), rows(0, 1), None)
    lesson = lesson_of(task, train=[OUTSIDE, said(LIKELY), said(SURE)], dev=[said(LIKELY), said(LIKELY)])
    assert lesson.task.train.labels.tolist() == [1, 0, 1]
    np.testing.assert_allclose(lesson.targets, [smoothed(1, 2), LIKELY, SURE], atol=2e-6)
    assert lesson.score("dev") == 0.5


def test_encoded_rows_follow_the_rows_that_stay_and_carry_the_targets() -> None:
    lesson = lesson_of(
        unlabelled_task(),
        train=[OUTSIDE, said(LIKELY), said(SURE), said(SURE)],
        dev=[said(SURE)] * 4,
        test=[said(SURE)] * 4,
    )
    encoded = Encoded(([1], [2], [3], [4]), np.full(4, UNLABELLED), 0)
    found = lesson.encoded({"train": encoded, "dev": encoded, "test": encoded})
    assert found["train"].input_ids == ([2], [3], [4])
    assert found["train"].labels.tolist() == [0, 1, 1]
    np.testing.assert_allclose(softmax(found["train"].teacher_logits), lesson.targets, atol=2e-6)
    assert found["test"].labels.tolist() == [0, 1, 1, 1]
    assert found["dev"].teacher_logits is None


def test_students_imitate_the_mean_of_both_teachers() -> None:
    black_box, own = np.log([[0.9, 0.1]]), np.log([[0.5, 0.5]]) + 3
    np.testing.assert_allclose(softmax(combined(black_box, own)), [[0.7, 0.3]], rtol=1e-6)


def test_a_teacher_that_mostly_says_nothing_is_refused() -> None:
    with pytest.raises(TrimfitError, match=f"oracle gave no answer for 9 of 12 texts .9: {OUTSIDE}"):
        lesson_of(unlabelled_task(), train=[OUTSIDE] * 4, dev=[OUTSIDE] * 4, test=[said(SURE)] * 3 + [OUTSIDE])


def test_a_class_that_no_text_got_is_named() -> None:
    lesson = lesson_of(unlabelled_task(), train=[said(SURE)] * 4, dev=[said(SURE)] * 4, test=[said(SURE)] * 4)
    assert "warning: no training text is labelled a" in lesson.sentences()
    assert any(line.startswith("train and dev: labelled by the teacher") for line in lesson.sentences())


def test_answers_are_written_and_read_again(tmp_path: Path) -> None:
    answers = lesson_of(
        unlabelled_task(), train=[OUTSIDE, *[said(LIKELY)] * 3], dev=[said(SURE)] * 4, test=[said(SURE)] * 4
    ).answers
    answers.write(tmp_path / "answers.npz")
    again = Answers.read(tmp_path / "answers.npz")
    assert (again.asked, again.without, again.probable) == (12, {OUTSIDE: 1}, 1.0)
    for part, q in answers.parts.items():
        np.testing.assert_array_equal(again.parts[part], q)


def test_agreement_counts_the_rows_that_were_answered() -> None:
    lesson = lesson_of(
        unlabelled_task(),
        train=[said(SURE)] * 4,
        dev=[said(SURE)] * 4,
        test=[said(SURE), said(SURE), OUTSIDE, said(LIKELY)],
    )
    model = np.array([[0, 1], [1, 0], [0, 1], [1, 0]])  # agrees in rows 0 and 3, and 1 of no answer
    facts = lesson.facts("test", model, 1 - model)
    assert (facts.rows, facts.agreement_teacher, facts.agreement_student) == (3, 2 / 3, 1 / 3)
    assert facts.test == pytest.approx(1 / 3)
    assert facts.labelled == ("train", "dev")


# files of answers


def outputs(tmp_path: Path, *records: dict, name: str = "answers.jsonl") -> Path:
    return write(tmp_path, name, list(records))


@pytest.mark.parametrize("name", ["answers.jsonl", "answers.csv", "answers.tsv", "answers.parquet"])
def test_answers_in_a_file_are_found_by_text(tmp_path: Path, name: str) -> None:
    path = outputs(
        tmp_path,
        {"text": "dull", "label": "bad", "bad": 0.7, "good": 0.3},
        {"text": "fine", "label": "good", "bad": 0.1, "good": 0.9},
        name=name,
    )
    file = OutputsFile(path, outputs_by_text(path, tmp_path, Columns()), LabelSet(("bad", "good"), ("bad", "good")))
    good, absent, bad = file.ask(["fine", "flat", "dull"])
    np.testing.assert_allclose([bad.distribution, good.distribution], [[0.7, 0.3], [0.1, 0.9]])
    assert absent == ABSENT
    with pytest.raises(TrimfitError, match="has an answer to none of the 1 texts"):
        file.check(["flat"])


def test_answers_of_some_probabilities_in_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text(
        '{"text": "dull", "probabilities": {"bad": 0.7, "mixed": 0.2}}\n'
        '{"text": "fine", "probabilities": {"good": 0.9}}\n'
    )
    names = ("bad", "mixed", "good")
    file = OutputsFile(path, outputs_by_text(path, tmp_path, Columns()), LabelSet(names, names))
    dull, fine = file.ask(["dull", "fine"])
    np.testing.assert_allclose(dull.distribution, [0.7, 0.2, 0.1])
    np.testing.assert_allclose(fine.distribution, [0.05, 0.05, 0.9])


def test_answers_without_texts_are_those_of_the_datas_rows(tmp_path: Path) -> None:
    data, answers = tmp_path / "data", tmp_path / "answers"
    write(data, "train.jsonl", [{"text": "dull"}, {"text": ""}, {"text": "fine"}])
    write(data, "dev.jsonl", [{"text": "flat"}])
    write(answers, "train.csv", [{"sentiment": "bad"}, {"sentiment": "bad"}, {"sentiment": "good"}])
    found = outputs_by_text(answers, data, Columns(label="sentiment"))
    assert found["fine"] == {"label": "good"}
    assert labels_in(found) == ("bad", "good")
    write(answers, "train.csv", [{"sentiment": "bad"}])
    with pytest.raises(TrimfitError, match=r"and 1 rows, .*train.jsonl has 3: expected one answer a row"):
        outputs_by_text(answers, data, Columns(label="sentiment"))


def test_a_file_that_is_not_there_is_no_teacher(tmp_path: Path) -> None:
    with pytest.raises(TrimfitError, match="give --teacher an address"):
        BlackBox(tmp_path / "nowhere.csv", (), tmp_path, Columns())


def test_a_job_that_was_told_asks_no_more(tmp_path: Path) -> None:
    data = write(tmp_path, "data.jsonl", without(ROWS))
    answers = write(tmp_path, "answers.jsonl", [{"text": row["text"], "label": row["label"]} for row in ROWS])
    box = BlackBox(answers, (), data, Columns())
    task = read_task(data, Columns(), unlabelled=box.unlabelled(("x", "y")))
    assert task.labels == ("no", "yes"), "the file's, not the model's"
    first = box.inquiry(task, 0, tmp_path / "work", Silent()).give()
    assert json.loads(str(np.load(tmp_path / "work" / "answers.npz")["note"]))["asked"] == 200
    silent = BlackBox(write(tmp_path, "other.jsonl", [{"text": "else", "label": "no"}]), ("no", "yes"), data, Columns())
    again = silent.inquiry(task, 0, tmp_path / "work", Silent()).give()
    assert (again.task.train.labels == first.task.train.labels).all()
    assert [first.task.labels[label] for label in first.task.dev.labels] == [
        ROWS[int(text.split()[1])]["label"] for text in first.task.dev.texts
    ]
