"""The study of students: what is read of the published sets, which rows there are, what a row holds."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.errors import TrimfitError
from benchmarks.suites.students import __main__ as suite
from benchmarks.suites.students.data_sets import DATA_SETS, lay_out
from benchmarks.suites.students.methods import Method, methods
from benchmarks.suites.students.study import Study
from benchmarks.suites.students.tables import also_table, table
from optimizer.cli import app


def write(path: Path, *rows: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    found = tmp_path / "published"
    rows = [
        {"text": "Ẹ káàárọ̀", "label": "neutral", "lang": "yor"},
        {"text": "good", "label": "positive", "lang": "pcm", "dup_in_train": 1},
        {"text": "bom", "label": "positive", "lang": "por"},
    ]
    for part in ("train", "dev", "test"):
        write(found / "afrisenti" / f"{part}.jsonl.gz", *rows)
    return found


def test_six_languages_are_read_and_tested_again_without_copies_of_training_rows(source: Path, tmp_path: Path) -> None:
    data, also = lay_out("afrisenti", source, tmp_path / "work")
    read = [json.loads(line) for line in (data / "test.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["lang"] for row in read] == ["yor", "pcm"]
    assert read[0]["text"] == "Ẹ káàárọ̀"
    assert [path.name for path in also] == ["not-in-train.jsonl"]
    assert [json.loads(line)["lang"] for line in also[0].read_text(encoding="utf-8").splitlines()] == ["yor"]


def test_a_set_that_is_not_there_is_named(source: Path, tmp_path: Path) -> None:
    with pytest.raises(TrimfitError, match=r"got no .*sst2/train.jsonl.gz, expected the published set"):
        lay_out("sst2", source, tmp_path / "work")


@pytest.mark.parametrize("data", DATA_SETS)
def test_every_row_has_a_name_of_its_own_and_options_that_the_command_takes(data: str) -> None:
    found = methods(data)
    assert len({method.key for method in found}) == len(found)
    command = next(c for c in app.registered_commands if c.callback and c.callback.__name__ == "optimize")
    known = {"--fast", "--thorough"} | {
        f"--{name.replace('_', '-')}"
        for name in command.callback.__annotations__  # type: ignore[union-attr]
    }
    assert {word for method in found for word in method.arguments if word.startswith("--")} <= known


def test_the_headline_of_sst2_has_three_seeds_at_every_target() -> None:
    seeds = {(m.speedup, m.seed) for m in methods("sst2") if m.name == "trimfit" and m.training == "default"}
    assert seeds == {(target, seed) for target in (5.0, 8.0, 15.0, 25.0) for seed in (0, 1, 2)}


def test_finished_rows_are_kept_and_another_sets_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    Study(path, "sst2").add("a", {"data": "sst2"})
    study = Study(path, "sst2")
    assert study.has("a")
    assert not study.has("b")
    with pytest.raises(TrimfitError, match="with rows of sst2, expected afrisenti"):
        Study(path, "afrisenti")
    path.write_text("{")
    with pytest.raises(TrimfitError, match="expected rows of students"):
        Study(path, "sst2")


def test_a_student_that_cannot_be_is_a_row_with_the_reason(tmp_path: Path) -> None:
    method = Method("trimfit", 5.0, 0, "fast")
    row = suite._made("sst2", method, tmp_path / "no-model", tmp_path / "no-data", [], tmp_path)
    assert "no-model" in row["refused"]
    assert row["target"] == 5.0
    assert table([row]).row_count == 1
    assert also_table([row]) is None


def test_scores_on_other_sets_stand_beside_each_other() -> None:
    scored = {"method": "trimfit", "target": 5.0, "training": "fast", "seed": 0, "kept": 0.9}
    rows = [scored | {"also": {"cr": {"teacher": 0.816, "student": 0.8234}}}, {**scored, "refused": "too slow"}]
    found = also_table(rows)
    assert found is not None
    assert found.row_count == 1
    assert list(found.columns[-1].cells) == ["81.6 -> 82.3"]
