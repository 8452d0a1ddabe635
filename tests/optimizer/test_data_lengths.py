"""The main job at the data's own lengths: what is asked, what is timed, and that nothing else changes."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import made_setting as made
import numpy as np
import pytest
from transformers import PreTrainedModel
from typer.testing import CliRunner

from benchmarks import Lengths, Workload
from benchmarks.errors import TrimfitError
from hardware_profiles import LatencyModel, LatencyProfile
from optimizer.cli import app
from optimizer.decision import decide
from optimizer.encoding import Encoded
from optimizer.engine import Engine
from optimizer.job import Job
from optimizer.measuring import POOL, write_input_pool
from optimizer.preparation import workload_of
from optimizer.setting import Setting
from optimizer.target import LatencyMs

MIX = Workload.over(Lengths(points=((4, 0.5), (12, 0.5)), shortest=3, longest=14))
FACTORS = {4: 0.4, 12: 1.6}  # over both lengths together everything takes what it takes in the plain setting
ROWS = Encoded(tuple([7] * n for n in (3, 4, 4, 5, 11, 12, 13, 14)), np.zeros(8, int), pad_token_id=1)


def at_lengths(profile: LatencyProfile) -> LatencyProfile:
    """The same profile at each length of MIX."""
    entries = [
        entry.model_copy(update={"workload": point, "seconds": FACTORS[point.seq_len] * entry.seconds})
        for point, _ in MIX.points()
        for entry in profile.entries
    ]
    return profile.model_copy(update={"entries": tuple(entries)})


def over_lengths(setting: Setting) -> Setting:
    """The same setting, asked for MIX."""

    def engine(e: Engine) -> Engine:
        profile = at_lengths(e.profile)
        return replace(e, profile=profile, latency=LatencyModel().fit(profile))

    return replace(setting, workload=MIX, engines=tuple(map(engine, setting.engines)))


@pytest.fixture
def plain(make_classifier: Callable[..., PreTrainedModel], tokenizer: object, tmp_path: Path) -> Setting:
    return made.setting(make_classifier(), tokenizer, tmp_path / "work", target=LatencyMs(2.0))


def test_lengths_that_average_to_one_lead_to_the_same_decision(plain: Setting) -> None:
    one, mixed = (decide(setting).candidates for setting in (plain, over_lengths(plain)))
    assert [c.name for c in mixed] == [c.name for c in one]
    assert [c.architecture for c in mixed] == [c.architecture for c in one]
    assert [c.predicted.ms for c in mixed] == pytest.approx([c.predicted.ms for c in one])
    assert [bool(c.refused) for c in mixed] == [bool(c.refused) for c in one]


def test_a_missed_target_teaches_what_was_measured_at_each_length(plain: Setting) -> None:
    setting = over_lengths(plain)
    winner = next(c for c in decide(setting).candidates if c.plan and c.precision == "fp32" and c.changes_shape)
    shape = winner.architecture
    before = [setting.engines[0].latency.predict(shape, point, "fp32").ms for point, _ in MIX.points()]
    taught = setting.corrected("student 1", winner, shape, 0.0, 1.2 * before[0], 0.9 * before[1]).engines[0].latency
    after = [taught.predict(shape, point, "fp32").ms for point, _ in MIX.points()]
    assert after == pytest.approx([1.2 * before[0], 0.9 * before[1]], rel=0.03)
    assert taught.predict(shape, MIX, "fp32").ms == pytest.approx(sum(after) / 2)


# what is asked


def job(**options: object) -> Job:
    return Job(model=Path("m"), data=Path("d"), out=Path("o"), **options)


def test_data_asks_for_the_lengths_of_the_rows() -> None:
    rows = replace(ROWS, input_ids=tuple([7] * n for n in (3, 4, 5, 9, 20, 21, 40, 50)))
    asked = workload_of(job(seq_len="data", batch=2, threads=3), rows, cores=8)
    assert asked == Workload.over(Lengths.of(rows.lengths, 2), batch=2, threads=3)
    assert len(asked.points()) > 1


def test_otherwise_one_length_is_asked_for_as_ever() -> None:
    assert workload_of(job(), ROWS, cores=8) == Workload(seq_len=8, threads=8), "the median row"
    assert workload_of(job(seq_len=64, threads=1), ROWS, cores=8) == Workload(seq_len=64)


def test_texts_are_cut_only_where_a_number_says_so() -> None:
    assert (job(seq_len=64).tokens, job(seq_len="data").tokens, job().tokens) == (64, None, None)
    with pytest.raises(TrimfitError, match="got seq_len 'date', expected a number of tokens or \"data\""):
        _ = job(seq_len="date").tokens


# what is timed


def test_each_length_is_timed_on_rows_that_are_nearly_that_long(tmp_path: Path) -> None:
    pool = np.load(write_input_pool(tmp_path / "pool.npz", ROWS, MIX, seed=0))
    names = ("input_ids", "attention_mask", "token_type_ids")
    assert set(pool.files) == {f"{length}/{name}" for length in (4, 12) for name in names}
    for length in (4, 12):
        assert pool[f"{length}/input_ids"].shape == (POOL, 1, length)
        assert (pool[f"{length}/attention_mask"] == 1).all(), "enough rows are just that long"
        assert (pool[f"{length}/input_ids"] == 7).all()


def test_a_batch_is_padded_to_its_longest_row(tmp_path: Path) -> None:
    batches = MIX.model_copy(update={"batch": 3})
    mask = np.load(write_input_pool(tmp_path / "pool.npz", ROWS, batches, seed=0))["12/attention_mask"]
    assert mask.shape == (POOL, 3, 12)
    assert (mask.sum(axis=2).max(axis=1) == 12).all()
    assert (mask.sum(axis=2).min(axis=1) < 12).any()


def test_rows_of_one_length_are_cut_and_padded_as_ever(tmp_path: Path) -> None:
    mask = np.load(write_input_pool(tmp_path / "pool.npz", ROWS, Workload(seq_len=8), seed=0))["attention_mask"]
    assert mask.shape == (POOL, 1, 8)
    assert set(mask.sum(axis=2).ravel().tolist()) == {3, 4, 5, 8}


@pytest.mark.parametrize(("given", "asked"), [("data", "data"), ("32", 32), (None, None)])
def test_the_command_line_asks_for_lengths(given: str | None, asked: object, monkeypatch: pytest.MonkeyPatch) -> None:
    def optimize(*_: object, seq_len: object, **__: object) -> None:
        raise TrimfitError(f"asked for {seq_len!r}")

    monkeypatch.setattr("optimizer.api.optimize", optimize)
    options = ["--model", "m", "--data", "d", "--out", "o", *(["--seq-len", given] if given else [])]
    done = CliRunner().invoke(app, ["optimize", *options])
    assert str(done.exception) == f"asked for {asked!r}"


def test_a_job_for_lengths_is_another_job(tmp_path: Path, classifier_folder: Path) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text(json.dumps({"text": "a", "label": "b"}) + "\n")
    first = Job(model=classifier_folder, data=data, out=tmp_path / "out")
    first.open()
    with pytest.raises(TrimfitError, match=r"workload was \[1, None, None\], now \[1, 'data', None\]"):
        replace(first, seq_len="data").check()
