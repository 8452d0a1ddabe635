"""The study of what others measured on a Raspberry Pi 4: on rows made by hand, and on theirs where they are at hand."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks.errors import TrimfitError
from benchmarks.suites.raspberry_pi_4.__main__ import DATA, FILES, VOCABULARY, main, run
from benchmarks.suites.raspberry_pi_4.calibrating import BOARD, calibration, int8_pairs
from benchmarks.suites.raspberry_pi_4.features import TOKENS, encoder_features, gflop
from benchmarks.suites.raspberry_pi_4.fitting import fit, predicted, score
from benchmarks.suites.raspberry_pi_4.rows import ENCODER, Rows
from benchmarks.suites.raspberry_pi_4.study import Study
from benchmarks.workload import Workload
from hardware_profiles import EncoderShape
from hardware_profiles.catalog import catalog_published
from hardware_profiles.published_model import PublishedModel
from hardware_profiles.work import Work

SHARED = Path(os.environ.get(DATA, Path(__file__).parents[3] / "shared" / "data")) / "latency"
RESULT = Path(__file__).parents[2] / "benchmarks" / "results" / "raspberry_pi_4.json"
TRUE = {
    "encoder": {"ffn_gflop": 100.0, "attention_gflop": 150.0, "heads": 0.2, "layers": 5.0},
    "decoder": {
        "ffn_gflop": 400.0, "attention_gflop": 300.0, "read_gflop": 200.0, "words_gflop": 350.0, "heads": 1.0,
        "layers": 100.0, "constant": 500.0,
    },
}  # fmt: skip


def made_columns(count: int = 300) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    columns = {
        "encoder_embed_dim": random.choice([512.0, 640.0], count),
        "encoder_layer_num": np.full(count, 6.0),
        "encoder_ffn_embed_dim_avg": random.choice(np.arange(1024.0, 3072.0, 128), count),
        "encoder_self_attention_heads_avg": random.choice([4.0, 6.0, 8.0], count),
        "decoder_embed_dim": random.choice([512.0, 640.0], count),
        "decoder_layer_num": random.choice(np.arange(1.0, 7.0), count),
        "decoder_ffn_embed_dim_avg": random.choice(np.arange(1024.0, 3072.0, 128), count),
        "decoder_self_attention_heads_avg": random.choice([4.0, 8.0], count),
        "decoder_ende_attention_heads_avg": random.choice([4.0, 8.0], count),
        "decoder_arbitrary_ende_attn_avg": random.choice([1.0, 2.0, 3.0], count),
    }
    for part in TRUE:
        columns[f"latency_std_{part}"] = np.zeros(count)
    return columns


def made_rows(task: str = "ende") -> Rows:
    """A board where every encoder and decoder takes exactly what its kinds of layer cost."""
    rows = Rows(made_columns() | {f"latency_mean_{part}": np.ones(300) for part in TRUE})
    study = Study(rows, VOCABULARY[task])
    exact = {f"latency_mean_{part}": predicted(costs, study.features(part)) for part, costs in TRUE.items()}
    return Rows(rows.columns | exact)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Made rows in files as the study reads them."""
    for task in ("ende", "enfr"):
        write(tmp_path / FILES[task], made_rows(task).columns)
    ncnn = [("resnet50", 4, 200.0), ("resnet50_int8", 4, 100.0), ("resnet50", 1, 600.0), ("resnet50_int8", 1, 500.0)]
    ncnn += [("vision_transformer", 4, 2000.0), ("vision_transformer", 1, 6000.0)]
    names, threads, ms = zip(*ncnn, strict=True)
    table = {"device": [BOARD] * 6, "num_threads": threads, "gpu_device": [-1] * 6, "model": names, "avg_ms": ms}
    write(tmp_path / FILES["ncnn"], table)
    return tmp_path


def write(path: Path, columns: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


# the fit


@pytest.mark.parametrize("part", TRUE)
def test_known_costs_are_found_again(part: str) -> None:
    assert Study(made_rows(), VOCABULARY["ende"]).costs(part) == pytest.approx(TRUE[part], rel=1e-4)


def test_costs_are_never_negative_and_errors_are_relative() -> None:
    features = {"up": np.array([1.0, 2.0]), "down": np.array([2.0, 1.0])}
    assert fit(features, np.array([1.0, 3.0]))["down"] == 0
    large = fit({"one": np.ones(2)}, np.array([1.0, 100.0]))
    assert large["one"] == pytest.approx(1.01 / 1.0001), "the least sum of squares of c/1 - 1 and c/100 - 1"


def test_an_encoder_does_the_work_that_a_prediction_counts() -> None:
    rows = made_rows()
    row = {name: values[0] for name, values in rows.columns.items()}
    heads, hidden, ffn = (int(row[name]) for name in (ENCODER[2], ENCODER[0], ENCODER[1]))
    shape = EncoderShape.uniform(hidden, 512 // heads, 6, heads, ffn)
    work = Work.of(shape, Workload(seq_len=TOKENS))
    features = {name: values[0] for name, values in encoder_features(rows).items()}
    assert features["ffn_gflop"] == pytest.approx(work.ffn_gflop)
    assert features["heads"] == work.heads
    assert features["layers"] == work.layers
    assert gflop(encoder_features(rows))[0] == pytest.approx(work.gflop, rel=0.01), "512 is no multiple of 6 heads"


# what is held out


def test_no_encoder_is_both_fitted_and_held_out_and_the_split_is_the_same_every_time() -> None:
    rows = made_rows()
    held_out = rows.held_out()
    encoders = np.array([rows[name] for name in ENCODER]).T
    assert not {tuple(x) for x in encoders[held_out]} & {tuple(x) for x in encoders[~held_out]}
    assert 0.2 < held_out.mean() < 0.45
    assert (held_out == Rows(dict(rows.columns)).held_out()).all()
    assert (held_out != rows.held_out(seed=1)).any()


def test_rows_of_a_cold_board_are_not_fitted_and_are_scored_apart() -> None:
    rows = made_rows()
    mean, deviation = rows["latency_mean_encoder"].copy(), rows["latency_std_encoder"].copy()
    mean[:20] *= 10
    deviation[20:40] = mean[20:40]
    study = Study(Rows(rows.columns | {"latency_mean_encoder": mean, "latency_std_encoder": deviation}), 32768)
    assert not study.rows.steady("encoder")[:40].any()
    assert study.rows.steady("encoder")[40:].all()
    found = study.scores({part: study.costs(part) for part in TRUE})["encoder"]
    assert found["steady"]["by_kind"]["mape_percent"] == 0
    assert found["all"]["by_kind"]["mape_percent"] > 1


def test_a_score_knows_errors_and_ranks() -> None:
    truth = np.array([1.0, 2.0, 4.0, 8.0])
    assert score(truth, truth) == {
        "rows": 4, "mape_percent": 0, "within_5_percent": 100, "within_10_percent": 100, "error_of_95_percent": 0,
        "spearman": 1, "kendall": 1,
    }  # fmt: skip
    found = score(truth[::-1], truth)
    assert (found["spearman"], found["within_10_percent"]) == (-1, 0)


# the other engine


def test_the_level_and_what_int8_brings_come_from_the_other_engine() -> None:
    engine = {("vision_transformer", 4): 1000.0, ("vision_transformer", 1): 3000.0}
    found = calibration(engine, fitted_gflops=13.05)
    assert found.ms == {4: 1000.0, 1: 3000.0}
    assert found.work().gflop == pytest.approx(26.1, rel=0.01), "as ncnn's encoder is counted"
    assert found.engine_factor == pytest.approx(2.0, rel=0.01)
    assert calibration(engine, fitted_gflops=52.2).engine_factor == pytest.approx(2.0, rel=0.01)
    assert int8_pairs({("a", 4): 3.0, ("a_int8", 4): 2.0, ("b", 4): 1.0}) == {"a, 4 threads": 1.5}


# the study


def test_the_study_writes_scores_and_the_catalogs_entry(folder: Path, tmp_path: Path) -> None:
    result, entry = tmp_path / "result.json", tmp_path / "entry.json"
    main(["--data", str(folder), "--json", str(result), "--entry", str(entry)])
    found, model = json.loads(result.read_text()), PublishedModel.load(entry)
    whole = found["held_out"]["whole"]["steady"]
    assert whole["by_kind"]["mape_percent"] == 0 < whole["flops"]["mape_percent"]
    assert whole["by_kind"]["kendall"] == 1 > whole["flops"]["kendall"]
    assert found["transfer_to_english_french"]["whole"]["mape_percent"] == 0
    assert (model.int8.low, model.int8.high) == (1.2, 2.0)
    assert model.costs.constant_ms == pytest.approx(TRUE["encoder"]["layers"], rel=1e-3)


def test_data_that_is_not_there_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TrimfitError, match="expected latencies of HAT: give --data the folder with hat/"):
        run(tmp_path)
    monkeypatch.delenv(DATA, raising=False)
    with pytest.raises(SystemExit, match=f"got neither --data nor {DATA}"):
        main(["--json", str(tmp_path / "result.json")])


@pytest.mark.skipif(
    not (SHARED / FILES["ende"]).is_file(), reason=f"no published latencies: set {DATA} to their folder"
)
def test_what_ships_is_what_the_published_rows_give() -> None:
    result, model = run(SHARED)
    shipped = catalog_published("raspberry-pi-4")
    assert model.model_dump() == shipped.model_dump()
    assert json.loads(json.dumps(result)) == json.loads(RESULT.read_text())
