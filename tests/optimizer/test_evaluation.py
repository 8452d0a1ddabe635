"""Rules of comparing teacher and student: formulas by hand, groups, and sets from elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

from benchmarks.errors import TrimfitError
from optimizer.evaluation.calibration import expected_calibration_error, softmax
from optimizer.evaluation.comparison import Answers, agreement, compare_answers
from optimizer.evaluation.held_out import held_out_sets, read_also
from optimizer.evaluation.significance import _score, holm, mcnemar_exact, paired_bootstrap
from optimizer.scoring import METRICS, scores
from optimizer.tasks import Columns, Rows, Task


def one_hot(answers: list[int], classes: int = 3) -> np.ndarray:
    return np.eye(classes)[answers]


# significance


def test_mcnemar_is_the_binomial_tail_twice() -> None:
    assert mcnemar_exact(0, 0) == 1
    assert mcnemar_exact(1, 5) == mcnemar_exact(5, 1) == 2 * (1 + 6) / 64
    assert mcnemar_exact(0, 10) == 2 / 1024
    assert mcnemar_exact(5, 5) == 1
    assert mcnemar_exact(1450, 1600) == pytest.approx(binomtest(1450, 3050).pvalue, rel=1e-9)


def test_holm_multiplies_the_least_by_all() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_a_bootstrap_of_two_rows_is_the_distribution_by_hand() -> None:
    """One row only the first has right, the other both: a draw loses 0, 1/2 or 1 with probability 1/4, 1/2, 1/4."""
    found = paired_bootstrap(np.array([0, 0]), np.array([0, 0]), np.array([1, 0]), "accuracy")
    assert (found.difference, found.low, found.high) == (-0.5, -1.0, 0.0)
    assert found.p == pytest.approx(0.5, abs=0.03)


def test_an_interval_of_many_rows_is_the_normal_one() -> None:
    labels = np.zeros(2000, int)
    first, second = np.repeat([0, 1, 0], [150, 100, 1750]), np.repeat([1, 0, 0], [150, 100, 1750])
    found = paired_bootstrap(labels, first, second, "accuracy")
    half = 1.96 * np.sqrt(250 - 50**2 / 2000) / 2000
    assert (found.low, found.high) == (pytest.approx(-0.025 - half, abs=1e-3), pytest.approx(-0.025 + half, abs=1e-3))
    assert found.p < 0.01


def test_equal_answers_differ_by_nothing() -> None:
    labels, answers = np.array([0, 1, 2, 1]), np.array([0, 1, 1, 1])
    assert paired_bootstrap(labels, answers, answers, "macro_f1") == (0.0, 0.0, 0.0, 1.0)


def test_the_same_rows_give_the_same_interval() -> None:
    rng = np.random.default_rng(1)
    rows = tuple(rng.integers(0, 3, 60) for _ in range(3))
    assert paired_bootstrap(*rows, "weighted_f1") == paired_bootstrap(*rows, "weighted_f1")


@pytest.mark.parametrize("metric", METRICS)
def test_a_draw_scores_as_its_rows_would(metric: str) -> None:
    """Also where a class has no row in the draw."""
    labels, answers = np.array([0, 1, 2, 0, 1]), np.array([0, 2, 2, 1, 1])
    for weights in ([1, 1, 1, 1, 1], [3, 0, 0, 2, 0], [0, 1, 4, 0, 2]):
        drawn = np.repeat(np.arange(5), weights)
        expected = scores(labels[drawn], one_hot(list(answers[drawn])))[metric]
        assert _score(np.array([weights]), labels, answers, 3, metric)[0] == pytest.approx(expected)


# calibration and agreement


def test_the_calibration_error_is_the_mean_gap_of_the_bins() -> None:
    """(0.5, 0.6]: half right of 0.6; (0.8, 0.9]: all right of 0.9. Each holds half of the rows."""
    probabilities = np.array([[0.6, 0.4], [0.4, 0.6], [0.9, 0.1], [0.1, 0.9]])
    assert expected_calibration_error(np.array([0, 0, 0, 1]), probabilities, bins=10) == pytest.approx(0.1)


def test_gaps_of_one_bin_cancel_and_those_of_two_do_not() -> None:
    probabilities = np.array([[0.7, 0.3], [0.9, 0.1]])
    labels = np.array([0, 1])
    assert expected_calibration_error(labels, probabilities, bins=1) == pytest.approx(0.3)
    assert expected_calibration_error(labels, probabilities, bins=10) == pytest.approx((0.3 + 0.9) / 2)
    assert expected_calibration_error(np.array([0]), np.array([[1.0, 0.0]])) == 0


def test_softmax_does_not_overflow() -> None:
    assert softmax(np.array([[1000.0, 1000.0]])).tolist() == [[0.5, 0.5]]


def test_agreement_counts_equal_answers_right_or_wrong() -> None:
    assert agreement(one_hot([0, 1, 2, 2]), one_hot([0, 1, 1, 2])) == 0.75


# groups


def answers(rows: int = 40) -> Answers:
    """hau loses every row, yor none, amh one of forty."""
    labels = np.zeros(3 * rows, int)
    student = [1] * rows + [0] * rows + [1] + [0] * (rows - 1)
    groups = ["hau"] * rows + ["yor"] * rows + ["amh"] * rows
    return Answers(labels, one_hot([0] * 3 * rows), one_hot(student), groups)


def test_the_worst_group_comes_first_with_its_doubt() -> None:
    found = compare_answers(answers(), "accuracy")
    assert list(found.groups) == ["hau", "amh", "yor"]
    hau, amh, yor = found.groups.values()
    assert (hau.teacher, hau.student, hau.low, hau.high, hau.rows) == (1.0, 0.0, -1.0, -1.0, 40)
    assert hau.mcnemar_p == pytest.approx(3 * 2 / 2**40), "times the number of groups"
    assert hau.agreement == 0
    assert amh.mcnemar_p == 1
    assert amh.low < amh.high <= 0
    assert (yor.bootstrap_p, yor.agreement) == (1.0, 1.0)


def test_all_rows_together_are_compared_too() -> None:
    found = compare_answers(answers(), "accuracy")
    assert found.rows == 120
    assert found.student == pytest.approx(79 / 120)
    assert found.mcnemar_p == 2 / 2**41
    assert found.calibration.bins == 15
    assert compare_answers(answers().of_group("yor"), "accuracy").groups == {}


# sets from elsewhere

LABELS = ("no", "yes")


def a_set(path: Path, rows: list[dict[str, object]]) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_another_set_is_named_by_its_file_or_its_folder(tmp_path: Path) -> None:
    rows = [{"text": "a", "label": "yes", "domain": "shop"}, {"text": "b", "label": "no", "domain": "bank"}]
    paths = (a_set(tmp_path / "shops.jsonl", rows), a_set(tmp_path / "banks" / "test.jsonl", rows).parent)
    found = read_also(paths, Columns(group="domain"), LABELS)
    assert list(found) == ["shops", "banks"]
    assert found["banks"].labels.tolist() == [1, 0]
    assert found["banks"].groups == ("shop", "bank")


def test_another_set_needs_no_groups_and_says_what_it_drops(tmp_path: Path) -> None:
    said: list[str] = []
    path = a_set(tmp_path / "shops.jsonl", [{"text": "a", "label": "yes"}, {"text": "", "label": "no"}])
    assert read_also((path,), Columns(group="lang"), LABELS, said.append)["shops"].groups is None
    assert said == ["1 rows of shops dropped: empty text"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"text": "a", "label": "maybe"}], "has the label 'maybe', expected one of no, yes: relabel or remove"),
        ([{"text": "a", "stars": "yes"}], "no column 'label'"),
        ([{"text": " ", "label": "yes"}], "has no row with a text and a label"),
    ],
)
def test_another_set_that_does_not_fit_is_refused_in_one_line(tmp_path: Path, rows: list, message: str) -> None:
    with pytest.raises(TrimfitError, match=message) as caught:
        read_also((a_set(tmp_path / "shops.jsonl", rows),), Columns(), LABELS)
    assert "\n" not in str(caught.value)


def test_two_sets_of_one_name_are_refused(tmp_path: Path) -> None:
    rows = [{"text": "a", "label": "yes"}]
    paths = (a_set(tmp_path / "shops.jsonl", rows), a_set(tmp_path / "more" / "shops.jsonl", rows))
    with pytest.raises(TrimfitError, match="two --also-test sets called 'shops'"):
        read_also(paths, Columns(), LABELS)
    with pytest.raises(TrimfitError, match="has no test file"):
        read_also((tmp_path / "more",), Columns(), LABELS)


def test_teacher_and_student_each_read_with_their_own_tokenizer(tokenizer: object) -> None:
    from optimizer.encoding import encode

    rows = Rows(("the film", "was good"), np.array([0, 1]))
    task = Task(LABELS, rows, rows, None)

    def marked(texts: list[str], **more: object) -> dict[str, list[list[int]]]:
        return {"input_ids": [[9] for _ in texts]}

    marked.pad_token_id = 1  # type: ignore[attr-defined]
    whole, fewer = encode(rows, tokenizer, 8), encode(rows, marked, 8)
    first, more = held_out_sets(task, {"shops": rows}, {"dev": whole}, {"dev": fewer}, (tokenizer, marked), 8)
    assert (first.name, more.name) == ("dev", "shops")
    assert first.teacher.input_ids == more.teacher.input_ids == whole.input_ids
    assert more.student.input_ids == ([9], [9])
