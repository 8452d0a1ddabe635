"""Predictions on a machine whose every cost is known."""

from __future__ import annotations

import made_profile as made
import pytest

from benchmarks.errors import TrimfitError
from benchmarks.workload import Workload
from hardware_profiles import LatencyModel

W = made.WORKLOAD
SHAPES = (made.shape((4, 128), (4, 128)), made.shape((2, 64)), made.shape((1, 0), (0, 32), (4, 128)))


@pytest.fixture
def model():
    return LatencyModel().fit(made.profile())


@pytest.mark.parametrize("shape", SHAPES)
def test_a_model_takes_the_sum_of_its_glue_and_blocks(model, shape):
    assert model.predict(shape, W).ms == pytest.approx(1e3 * made.true_seconds(shape))
    parts = [model.unit_ms("attention", x.heads, W) + model.unit_ms("ffn", x.ffn, W) for x in shape.layers]
    assert model.predict(shape, W).ms == pytest.approx(model.overhead_ms(W) + sum(parts))


def test_the_glue_is_what_a_model_without_layers_takes(model):
    assert model.overhead_ms(W) == pytest.approx(0.050)
    assert model.predict(made.shape(), W).ms == pytest.approx(0.050)


def test_a_removed_block_costs_its_bias_and_norm(model):
    assert model.unit_ms("attention", 0, W) == pytest.approx(0.010)


def test_widths_between_measured_ones_are_interpolated(model):
    assert model.unit_ms("ffn", 96, W) == pytest.approx(0.106)
    assert model.unit_ms("attention", 3, W) == pytest.approx(0.130)


def test_below_the_narrowest_measured_block_nothing_is_gained_but_by_removal(model):
    assert model.unit_ms("ffn", 5, W) == model.unit_ms("ffn", 32, W)


def test_measured_widths_are_listed_with_the_removed_block(model):
    assert model.widths("attention", W) == made.HEAD_WIDTHS
    assert model.widths("ffn", W) == made.FFN_WIDTHS


def test_a_wider_block_is_never_predicted_faster():
    noisy = made.timing(made.unit("ffn", 64), seconds_each=120e-6)
    model = LatencyModel().fit(made.profile().with_entries([noisy]))
    times = [model.unit_ms("ffn", width, W) for width in range(129)]
    assert times == sorted(times)


@pytest.mark.parametrize(("kind", "width", "what"), [("attention", 5, "5 heads"), ("ffn", 129, "129 neurons")])
def test_wider_than_measured_is_unknown(model, kind, width, what):
    with pytest.raises(TrimfitError, match=f"got {what}, expected at most"):
        model.unit_ms(kind, width, W)


def test_an_unmeasured_workload_names_what_was_measured(model):
    with pytest.raises(TrimfitError, match=r"got .*128 tokens.*, expected one of the measured: .*64 tokens.*fp32"):
        model.predict(SHAPES[0], Workload(seq_len=128))
    with pytest.raises(TrimfitError, match="int8, expected one of the measured"):
        model.predict(SHAPES[0], W, "int8")


def test_prediction_before_fit_says_so():
    with pytest.raises(TrimfitError, match=r"call fit\(profile\) first"):
        LatencyModel().predict(SHAPES[0], W)


def test_an_empty_profile_teaches_nothing():
    empty = made.profile().model_copy(update={"entries": ()})
    with pytest.raises(TrimfitError, match="got a profile without measurements"):
        LatencyModel().fit(empty)


def test_fitting_twice_equals_fitting_on_the_second():
    slow = made.profile(seconds_each=500e-6)
    again, once = LatencyModel().fit(slow).fit(made.profile()), LatencyModel().fit(made.profile())
    assert again.predict(SHAPES[0], W) == once.predict(SHAPES[0], W)


def test_a_slower_minute_of_the_machine_is_no_slower_unit():
    slow = [made.timing(made.unit("ffn", 64), slower=1.5), made.timing(made.unit("attention", 2), slower=1.5)]
    model = LatencyModel().fit(made.profile().with_entries(slow))
    # the reference of the quiet and the busy minute have the median 1.25: all is told on that clock
    assert model.unit_ms("ffn", 64, W) / model.unit_ms("ffn", 128, W) == pytest.approx(74 / 138)


def test_zeros_that_bring_nothing_are_reported_as_such(model):
    assert model.zeros_speedup(W, "fp32", 0.9) == pytest.approx(1.0)
    sparse = model.predict(SHAPES[0], W, pattern="unstructured", sparsity=0.9)
    assert sparse.ms == pytest.approx(model.predict(SHAPES[0], W).ms)


def test_zeros_that_bring_something_speed_the_blocks_up():
    halved = [
        made.timing(made.unit(kind, width, 0.9), seconds_each=made.cost(made.unit(kind, width)) / 2)
        for kind, width in (("attention", 4), ("ffn", 128))
    ]
    model = LatencyModel().fit(made.profile().with_entries(halved))
    assert model.zeros_speedup(W, "fp32", 0.9) == pytest.approx(2.0)
    assert model.zeros_speedup(W, "fp32", 0.7) == pytest.approx(1 / 0.75)
    blocks = 1e3 * (made.true_seconds(SHAPES[0]) - made.GLUE)
    assert model.predict(SHAPES[0], W, pattern="unstructured", sparsity=0.9).ms == pytest.approx(0.05 + blocks / 2)


def test_what_a_narrow_sparse_layer_does_besides_its_weights_is_counted():
    """Here 20 us a layer, and a fifth of what each head or neuron takes dense: that of widths in between too."""

    def sparse(kind, width):
        return made.unit(kind, width, 0.9), 30e-6 + (made.cost(made.unit(kind, width)) - 10e-6) / 5

    units = [sparse(*block) for block in (("attention", 1), ("attention", 4), ("ffn", 32), ("ffn", 128))]
    timed = [made.timing(unit, seconds_each=seconds) for unit, seconds in units]
    model = LatencyModel().fit(made.profile().with_entries(timed))
    truth = 1e6 * made.GLUE + sum((30 + 40 / 5 * heads) + (30 + ffn / 5) for heads, ffn in ((2, 50), (3, 100)))
    narrow = model.predict(made.shape((2, 50), (3, 100)), W, pattern="unstructured", sparsity=0.9)
    assert narrow.ms == pytest.approx(1e-3 * truth)


def test_more_zeros_than_measured_are_unknown(model):
    with pytest.raises(
        TrimfitError, match=r"got 95% zeros in attention, expected at most a measured sparsity \(50%, 90%\)"
    ):
        model.zeros_speedup(W, "fp32", 0.95)


def test_anchors_correct_the_sum():
    profile = made.profile().with_anchor(*(made.anchor(shape, 1.1) for shape in SHAPES))
    prediction = LatencyModel().fit(profile).predict(made.shape((4, 64), (2, 128)), W)
    truth = 1.1e3 * made.true_seconds(made.shape((4, 64), (2, 128)))
    assert prediction.ms == pytest.approx(truth, rel=0.04)
    assert prediction.low_ms < truth < prediction.high_ms


def test_anchors_of_a_slower_minute_correct_nothing():
    profile = made.profile().with_anchor(*(made.anchor(shape, slower=1.2) for shape in SHAPES))
    units = LatencyModel().fit(made.profile()).predict(SHAPES[0], W).ms
    # the median clock lies halfway: all predictions move with it, not the ratio to the units
    assert LatencyModel().fit(profile).predict(SHAPES[0], W).ms == pytest.approx(1.1 * units, rel=1e-3)


def test_anchors_narrow_the_interval():
    def width(*anchors):
        prediction = LatencyModel().fit(made.profile().with_anchor(*anchors)).predict(SHAPES[0], W)
        return prediction.high_ms - prediction.low_ms

    built = [made.anchor(shape) for shape in SHAPES]
    measured = made.anchor(SHAPES[0], source="model")
    assert width() > width(*built) > width(*built, measured)


def test_a_measured_model_is_predicted_as_it_was_measured():
    student = made.shape((2, 64), (1, 32))
    built = [made.anchor(shape) for shape in SHAPES]
    profile = made.profile().with_anchor(*built, made.anchor(student, 1.08, source="model", name="student"))
    prediction = LatencyModel().fit(profile).predict(student, W)
    assert prediction.ms == pytest.approx(1.08e3 * made.true_seconds(student), rel=0.02)


def test_anchors_that_contradict_each_other_widen_the_interval():
    def relative_width(*factors):
        anchors = [made.anchor(shape, f, name=str(f)) for shape, f in zip(SHAPES * 2, factors, strict=True)]
        prediction = LatencyModel().fit(made.profile().with_anchor(*anchors)).predict(SHAPES[0], W)
        return (prediction.high_ms - prediction.low_ms) / prediction.ms

    assert relative_width(1.2, 0.8, 1.2, 0.81, 1.21, 0.82) > 2 * relative_width(1, 1.01, 1, 1.01, 1, 1.01)


def test_anchors_beyond_the_measured_widths_are_left_out():
    wide = made.shape((8, 128))
    profile = made.profile().with_anchor(made.anchor(wide, 2.0))
    assert LatencyModel().fit(profile).predict(SHAPES[0], W).ms == pytest.approx(1e3 * made.true_seconds(SHAPES[0]))


@pytest.mark.parametrize("times_truth", [1.0, 1.1])
def test_the_budget_is_the_sum_that_is_predicted_to_take_the_target(times_truth):
    profile = made.profile().with_anchor(*(made.anchor(shape, times_truth) for shape in SHAPES))
    model = LatencyModel().fit(profile)
    parts = [model.unit_ms("attention", x.heads, W) + model.unit_ms("ffn", x.ffn, W) for x in SHAPES[0].layers]
    total = model.overhead_ms(W) + sum(parts)
    assert model.budget_ms(model.predict(SHAPES[0], W).ms, W) == pytest.approx(total, rel=1e-6)


RUNG = made.unit("ffn", 128)
RUNG_BYTES = 4 * 2 * 384 * 128
PENALTY, CAPACITY = 6e-11, 8e6


def chain(copies):
    total_bytes = copies * RUNG_BYTES
    penalty = PENALTY * total_bytes / (1 + (CAPACITY / total_bytes) ** 4) / copies
    return made.timing(RUNG, seconds_each=made.cost(RUNG) + penalty, repeat=copies)


def test_large_models_pay_for_reading_their_weights_from_memory():
    model = LatencyModel().fit(made.profile().with_ladder([chain(n) for n in (2, 4, 8, 14, 20, 28, 40, 60, 100)]))
    small, large = made.shape((0, 128)), made.shape(*[(0, 128)] * 100)
    assert model.predict(small, W).ms == pytest.approx(1e3 * made.true_seconds(small), rel=0.01)
    expected = 1e3 * (made.true_seconds(large) + 100 * PENALTY * RUNG_BYTES)
    assert model.predict(large, W).ms == pytest.approx(expected, rel=0.01)
    assert model.unit_ms("ffn", 128, W) == pytest.approx(1e3 * (made.cost(RUNG) + PENALTY * RUNG_BYTES), rel=0.01)
    assert model.cache_facts(W)[0] == pytest.approx(CAPACITY / 1e6, rel=0.1)


def test_precisions_have_tables_of_their_own():
    profile = made.profile().with_entries(made.profile(precision="int8", seconds_each=5e-6).entries)
    model = LatencyModel().fit(profile)
    assert model.unit_ms("ffn", 128, W, "int8") == pytest.approx(0.005)
    assert model.unit_ms("ffn", 128, W, "fp32") == pytest.approx(0.138)


def test_sizes_must_be_named_where_several_were_measured():
    def wider(entry):
        return entry.model_copy(update={"unit": entry.unit.model_copy(update={"hidden_size": 768})})

    profile = made.profile()
    model = LatencyModel().fit(profile.with_entries(wider(entry) for entry in profile.entries))
    with pytest.raises(TrimfitError, match="hidden size unnamed"):
        model.unit_ms("ffn", 64, W)
    assert model.unit_ms("ffn", 64, W, hidden_size=768) == pytest.approx(0.074)


def test_a_block_that_was_timed_in_a_busy_moment_does_not_lift_its_neighbours():
    busy = made.timing(made.unit("ffn", 64), 10 * made.cost(made.unit("ffn", 64))).model_copy(update={"iqr": 1e-3})
    model = LatencyModel().fit(made.profile().with_entries([busy]))
    assert model.unit_ms("ffn", 128, W) == pytest.approx(1e3 * made.cost(made.unit("ffn", 128)), rel=0.01)
