"""What others published of a device: intervals that hold every engine like theirs, and ratios that are known better."""

from __future__ import annotations

import math
from itertools import product

import made_published as made
import pytest
from made_published import FACTOR, INT8, LEVEL, RESIDUAL, SHAPE, WORKLOAD

from benchmarks.errors import TrimfitError
from benchmarks.lengths import Lengths
from benchmarks.workload import Workload
from hardware_profiles import EncoderShape, LayerWidths, Prediction
from hardware_profiles.interval import Interval
from hardware_profiles.prediction import ScenarioPrediction
from hardware_profiles.published_model import READINGS, PublishedModel
from hardware_profiles.work import Work

HALF = EncoderShape.uniform(64, 16, 1, 4, 256)
BESIDE = 1 + math.hypot(RESIDUAL, RESIDUAL)


def test_the_work_of_an_encoder_is_counted_by_hand():
    work = Work.of(SHAPE, Workload(batch=3, seq_len=32))
    rows = 3 * 32
    assert work.ffn_gflop == pytest.approx(2 * (2 * 64 * 256) * 2 * rows / 1e9)
    assert work.projection_gflop == pytest.approx(2 * (4 * 64 * 64) * 2 * rows / 1e9)
    assert work.core_gflop == pytest.approx(2 * (2 * 32 * 64) * 2 * rows / 1e9)
    assert (work.heads, work.layers, work.rows) == (8, 2, rows)
    one_block = EncoderShape(hidden_size=64, head_size=16, layers=(LayerWidths(heads=0, ffn=256),))
    assert Work.of(one_block, WORKLOAD).layers == 0.5


# predictions


@pytest.mark.parametrize("threads", [1, 4])
def test_the_calibrating_encoder_takes_what_was_published_give_or_take_another_engine(threads):
    found = made.model().predict(SHAPE, WORKLOAD.model_copy(update={"threads": threads}))
    assert found.ms == pytest.approx(LEVEL[threads])
    assert found.low_ms == pytest.approx(LEVEL[threads] / FACTOR / (1 + RESIDUAL))
    assert found.high_ms == pytest.approx(LEVEL[threads] * FACTOR * (1 + RESIDUAL))


def test_the_interval_holds_every_engine_that_may_be_meant():
    model = made.model()
    calibrating = model.calibration.work()
    for precision, ends in (("fp32", (1.0,)), ("int8", (INT8.low, INT8.high))):
        found = model.predict(HALF, WORKLOAD, precision)
        for reading, slower, faster in product(READINGS, (1 / FACTOR, FACTOR), ends):
            level = LEVEL[4] / reading(made.COSTS, calibrating)
            truth = level * reading(made.COSTS, Work.of(HALF, WORKLOAD)) * slower / faster
            assert found.low_ms * (1 + RESIDUAL) <= truth * (1 + 1e-9)
            assert truth <= found.high_ms / (1 + RESIDUAL) * (1 + 1e-9)


def test_a_mix_of_lengths_takes_their_mean():
    mix = Workload.over(Lengths.of([16, 48]), threads=4)
    parts = [made.model().predict(SHAPE, point) for point, _ in mix.points()]
    found = made.model().predict(SHAPE, mix)
    expected = [sum(each) / 2 for each in zip(*(part.scenarios for part in parts), strict=True)]
    assert found.scenarios == pytest.approx(expected)


# speed-ups


def test_the_level_of_an_engine_cancels_in_a_speedup():
    sure, unsure = (
        made.model(calibration=made.model().calibration.model_copy(update={"engine_factor": factor}))
        for factor in (1.01, 5.0)
    )
    ratios = [m.predict(SHAPE, WORKLOAD).speedup_of(m.predict(HALF, WORKLOAD)) for m in (sure, unsure)]
    assert ratios[0] == pytest.approx(ratios[1])


def test_int8_is_as_much_faster_as_published_and_no_point():
    model = made.model()
    value, low, high = model.predict(SHAPE, WORKLOAD).speedup_of(model.predict(SHAPE, WORKLOAD, "int8"))
    assert value == pytest.approx(math.sqrt(INT8.low * INT8.high))
    assert (low, high) == (pytest.approx(INT8.low / BESIDE), pytest.approx(INT8.high * BESIDE))


def test_half_the_layers_bring_less_where_a_constant_is_paid_by_call():
    """By layer, by row and for arithmetic alone it is exactly half; the constant of a call stays."""
    model = made.model()
    value, low, high = model.predict(SHAPE, WORKLOAD).speedup_of(model.predict(HALF, WORKLOAD))
    assert high == pytest.approx(2 * BESIDE)
    work, half = (made.COSTS.arithmetic_ms(Work.of(shape, WORKLOAD)) for shape in (SHAPE, HALF))
    assert low == pytest.approx((work + 6) / (half + 6) / BESIDE)
    assert low < value < high


def test_where_all_readings_agree_only_the_residual_is_left():
    model = made.model(costs=made.ARITHMETIC)
    narrow = EncoderShape.uniform(64, 16, 2, 1, 64)
    flops = Work.of(SHAPE, WORKLOAD).gflop / Work.of(narrow, WORKLOAD).gflop
    found = model.predict(SHAPE, WORKLOAD).speedup_of(model.predict(narrow, WORKLOAD))
    assert found == pytest.approx((flops, flops / BESIDE, flops * BESIDE))


def test_independent_predictions_are_divided_as_such():
    value, low, high = Prediction(10, 9, 11).speedup_of(Prediction(5, 4.5, 5.5))
    assert (value, low, high) == pytest.approx((2, 2 / (1 + math.hypot(0.1, 0.1)), 2 * (1 + math.hypot(0.1, 0.1))))
    scenarios = ScenarioPrediction.of([10, 10], 0.0)
    assert scenarios.speedup_of(Prediction(5, 4.5, 5.5))[0] == pytest.approx(2)


# refusals


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"threads": 2}, "got 2 threads for abacus, expected 1 or 4 as published"),
        ({"seq_len": 128}, "got batch 1, 128 tokens for abacus, expected 8 to 64 tokens in all as published"),
        ({"batch": 3}, "got batch 3, 32 tokens for abacus"),
    ],
)
def test_what_was_not_published_is_refused_with_what_was(asked, message):
    with pytest.raises(TrimfitError, match=message):
        made.model().predict(SHAPE, WORKLOAD.model_copy(update=asked))


def test_nothing_is_said_of_zeros_or_of_other_precisions():
    model = made.model()
    for ask in (
        lambda: model.predict(SHAPE, WORKLOAD, "fp32", "unstructured", 0.9),
        lambda: model.zeros_speedup(WORKLOAD, "fp32", 0.9),
        lambda: model.sparsity_range(WORKLOAD, "fp32", "unstructured"),
    ):
        with pytest.raises(TrimfitError, match="nobody published milliseconds with zeros there"):
            ask()
    with pytest.raises(TrimfitError, match="got bf16 for abacus, expected fp32 or int8"):
        model.predict(SHAPE, WORKLOAD, "bf16")


def test_what_transfers_badly_is_said():
    assert made.model().cautions(SHAPE) == ("not published: the weather",)
    wide = EncoderShape.uniform(128, 16, 1, 8, 512)
    assert made.model().cautions(wide)[0] == "hidden size 128 lies outside of those published (32 to 64)"


# the file


def test_it_is_read_as_it_was_written(tmp_path):
    assert PublishedModel.load(made.model().save(tmp_path / "published.json")) == made.model()


def test_a_file_that_claims_a_measurement_is_refused(tmp_path):
    claimed = made.DEVICE.model_copy(update={"provenance": "measured_device"})
    path = made.model(device=claimed).save(tmp_path / "published.json")
    with pytest.raises(TrimfitError, match="got provenance measured_device, expected published"):
        PublishedModel.load(path)
    with pytest.raises(TrimfitError, match="expected published figures"):
        PublishedModel.load(tmp_path / "nowhere.json")


def test_an_interval_is_no_point():
    with pytest.raises(ValueError, match="expected the first below the second"):
        Interval(low=0.5, high=0.5)
