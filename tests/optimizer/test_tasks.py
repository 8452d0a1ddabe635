import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from benchmarks.errors import TrimfitError
from optimizer.tasks import Columns, Rows, Task, read_task

ROWS = [
    {"text": f"text {i}", "label": ["no", "yes"][i % 2], "lang": ["hau", "yor"][i % 3 == 0], "n": i} for i in range(200)
]


def write(folder: Path, name: str, rows: list[dict]) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    separator = {"csv": ",", "tsv": "\t"}.get(name.split(".")[-1])
    if name.endswith(".parquet"):
        pa.parquet.write_table(pa.Table.from_pylist(rows), path)
    elif separator:
        head = separator.join(rows[0])
        path.write_text("\n".join([head, *(separator.join(str(v) for v in row.values()) for row in rows)]) + "\n")
    elif name.endswith(".gz"):
        path.write_bytes(gzip.compress(lines.encode()))
    else:
        path.write_text(lines)
    return path


@pytest.mark.parametrize("name", ["all.csv", "all.tsv", "all.jsonl", "all.jsonl.gz", "all.parquet"])
def test_every_format_gives_the_same_task(tmp_path: Path, name: str) -> None:
    task = read_task(write(tmp_path, name, ROWS), Columns(group="lang"))
    assert task.labels == ("no", "yes")
    assert (len(task.train), len(task.dev), len(task.test)) == (160, 20, 20)
    row = task.train.texts.index("text 7") if "text 7" in task.train.texts else None
    if row is not None:
        assert task.train.labels[row] == 1
        assert task.train.groups[row] == "hau"


def test_one_file_is_split_by_label_and_by_seed(tmp_path: Path) -> None:
    path = write(tmp_path, "all.jsonl", ROWS)
    first, again, other = (read_task(path, Columns(), seed=seed) for seed in (0, 0, 1))
    assert first.dev.texts == again.dev.texts != other.dev.texts
    assert sorted(np.bincount(first.dev.labels)) == [10, 10]
    parts = [set(part.texts) for part in (first.train, first.dev, first.test)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 200


def test_a_folder_keeps_its_own_parts(tmp_path: Path) -> None:
    write(tmp_path, "train.jsonl", ROWS[:100])
    write(tmp_path, "validation.csv", ROWS[100:140])
    write(tmp_path, "README.md", ROWS[:1])
    task = read_task(tmp_path, Columns())
    assert (len(task.train), len(task.dev), task.test) == (100, 40, None)


def test_labels_of_any_type_become_names_in_a_fixed_order(tmp_path: Path) -> None:
    numbers = [{"text": f"t {i}", "label": [10, 9, 2][i % 3]} for i in range(200)]
    truths = [{"text": f"t {i}", "label": bool(i % 2)} for i in range(200)]
    assert read_task(write(tmp_path, "n.jsonl", numbers), Columns()).labels == ("2", "9", "10")
    assert read_task(write(tmp_path, "b.jsonl", truths), Columns()).labels == ("False", "True")
    gaps = [{**row, "label": None if i == 0 else row["label"]} for i, row in enumerate(numbers)]
    assert read_task(write(tmp_path, "g.jsonl", gaps), Columns()).labels == ("2", "9", "10")


def test_empty_texts_and_labels_are_dropped_and_counted(tmp_path: Path) -> None:
    rows = [*ROWS, {**ROWS[0], "text": "  "}, {**ROWS[0], "text": None}, {**ROWS[0], "label": None}]
    task = read_task(write(tmp_path, "all.jsonl", rows), Columns())
    assert task.dropped == {"empty text": 2, "empty label": 1}


def test_unbalanced_quotes_in_a_tsv_swallow_nothing(tmp_path: Path) -> None:
    lines = ["text\tlabel", *(f'he said "{i} fine\t{i % 2}' for i in range(200)), '"a ""quoted"" cell"\t1']
    path = tmp_path / "all.tsv"
    path.write_text("\n".join(lines) + "\n")
    task = read_task(path, Columns())
    texts = (*task.train.texts, *task.dev.texts, *task.test.texts)
    assert len(texts) == 201
    assert 'a "quoted" cell' in texts


def test_newlines_inside_quoted_csv_cells_stay_in_the_text(tmp_path: Path) -> None:
    path = tmp_path / "all.csv"
    path.write_text("text,label\n" + "".join(f'"line one\nline {i}",{i % 2}\n' for i in range(200)))
    task = read_task(path, Columns())
    assert "line one\nline 0" in (*task.train.texts, *task.dev.texts, *task.test.texts)


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        (ROWS, Columns(text="body"), "no column 'body', its columns are text, label, lang, n"),
        (ROWS, Columns(group="language"), "no column 'language'"),
        ([{**row, "label": "x"} for row in ROWS], Columns(), "1 class"),
        (ROWS[:30], Columns(), "rows to train on"),
        (ROWS, Columns(label="n"), "200 different values"),
    ],
)
def test_bad_data_is_one_line_with_the_next_step(tmp_path: Path, rows: list, columns: Columns, message: str) -> None:
    with pytest.raises(TrimfitError, match=message) as caught:
        read_task(write(tmp_path, "all.jsonl", rows), columns)
    assert "\n" not in str(caught.value)


def test_a_class_that_train_lacks_is_named(tmp_path: Path) -> None:
    write(tmp_path, "train.jsonl", ROWS)
    write(tmp_path, "dev.jsonl", [*ROWS[:40], {**ROWS[0], "label": "maybe"}])
    with pytest.raises(TrimfitError, match="class 'maybe' is in the dev part"):
        read_task(tmp_path, Columns())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("all.jsonl", b'{"text": "a", "label": 1}\n{"text": ', "not a readable jsonl file"),
        ("all.jsonl.gz", gzip.compress(b'{"text": "a"}\n', mtime=0)[:-6], "not a readable jsonl file"),
        ("all.parquet", b"PAR1 nonsense", "not a readable parquet file"),
        ("all.csv", b"text,label\na,b,c\n", "not a readable csv file"),
        ("all.xlsx", b"", "ends in .xlsx"),
        ("all.csv", b"text,label\n", "no rows"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TrimfitError, match=message) as caught:
        read_task(tmp_path / name, Columns())
    assert "\n" not in str(caught.value)


def test_a_missing_file_or_train_part_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrimfitError, match="no such file or folder"):
        read_task(tmp_path / "nowhere", Columns())
    with pytest.raises(TrimfitError, match="no train file"):
        read_task(tmp_path, Columns())
    write(tmp_path, "train.jsonl", ROWS)
    write(tmp_path, "train.csv", ROWS)
    with pytest.raises(TrimfitError, match="two train files"):
        read_task(tmp_path, Columns())


def test_relabelling_moves_every_part_to_the_teachers_order() -> None:
    rows = Rows(("a", "b", "c"), np.array([0, 1, 0]))
    task = Task(("neg", "pos"), rows, rows, None).relabelled(("pos", "neutral", "neg"))
    assert task.labels == ("pos", "neutral", "neg")
    assert task.train.labels.tolist() == task.dev.labels.tolist() == [2, 0, 2]


def test_a_split_made_here_does_not_leak(tmp_path: Path) -> None:
    rows = [{"text": f"text {i // 4}", "label": "ab"[i // 4 % 2]} for i in range(400)]
    task = read_task(write(tmp_path, "all.jsonl", rows), Columns())
    assert not set(task.train.texts) & {*task.dev.texts, *task.test.texts}
    assert task.dropped["training text that is also held out"] == 400 - 80 - len(task.train)


def test_csv_texts_and_labels_stay_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "all.csv"
    path.write_text("text,label\n" + "".join(f"{i:03d},{['01', 'NA'][i % 2]}\n" for i in range(200)))
    task = read_task(path, Columns())
    assert task.labels == ("01", "NA")
    assert {"007", "010"} <= {*task.train.texts, *task.dev.texts, *task.test.texts}


def test_texts_that_train_holds_as_well_are_counted() -> None:
    some = [Rows(texts, np.zeros(len(texts), int)) for texts in (("a b", "c", "d"), ("e",), ("A b ", "f", "c"))]
    assert Task(("x",), *some).also_in_train == {"test": 2}


@pytest.mark.parametrize("name", ["all.csv", "all.jsonl"])
def test_bytes_that_are_not_utf8_are_refused(tmp_path: Path, name: str) -> None:
    row = "caf\xe9,1\n" if name.endswith("csv") else '{"text": "caf\xe9", "label": 1}\n'
    (tmp_path / name).write_bytes((("text,label\n" if name.endswith("csv") else "") + row * 200).encode("latin-1"))
    with pytest.raises(TrimfitError, match="not a readable"):
        read_task(tmp_path / name, Columns())


def test_a_test_part_without_labels_is_not_scored(tmp_path: Path) -> None:
    write(tmp_path, "train.jsonl", ROWS)
    write(tmp_path, "dev.jsonl", ROWS[:40])
    write(tmp_path, "test.jsonl", [{"text": "t", "label": None}] * 3)
    task = read_task(tmp_path, Columns())
    assert task.test is None
    assert task.dropped == {"empty label": 3}
