"""Layers with shares of zeros of their own: what each part of a block gains, and what a whole model then takes."""

from __future__ import annotations

import made_profile as made
import pytest

from benchmarks.errors import TrimfitError
from hardware_profiles import Anchor, BreakEven, LatencyModel, LatencyProfile
from hardware_profiles.clock import Clock
from hardware_profiles.latency_table import LatencyTable, tables_of
from hardware_profiles.layer_zeros import LayerZeros, has_zeros, mean_sparsity
from hardware_profiles.mixed_zeros import gained, is_sparse, mixed_seconds, part_breaks

W = made.WORKLOAD
SHAPE = made.shape((4, 128), (2, 64))
RATIOS = {0.62: 0.9, 0.82: 0.5, 0.9: 0.3}
DENSE = 138e-6  # of an FFN of 128


def profile(**changes):
    """What reads the hidden state is sparse from 60 % on, what writes it from 80 % on."""
    points = [
        BreakEven(out_features=out, in_features=into, workload=W, precision="fp32", sparsity=least)
        for out, into, least in ((128, 384, 0.6), (384, 128, 0.8))
    ]
    timed = [
        made.timing(made.unit("ffn", 128, zeros), seconds_each=ratio * made.cost(made.unit("ffn", 128)))
        for zeros, ratio in RATIOS.items()
    ]
    timed += [
        made.timing(made.unit("attention", 4, zeros), seconds_each=(1 - zeros) * made.cost(made.unit("attention", 4)))
        for zeros in (0.5, 0.9)
    ]
    dense = made.profile()
    entries = tuple(e for e in dense.entries if not e.unit.sparsity)
    found = dense.model_copy(update={"entries": entries}).with_entries(timed)
    return found if changes.get("no_breaks") else found.with_break_even(points)


def table(of: LatencyProfile) -> LatencyTable:
    (found,) = tables_of(of, Clock(of)).values()
    return found


def ffn_curve():
    return table(profile()).zeros["ffn", "unstructured"]


def dense(width):
    return made.cost(made.unit("ffn", width))


@pytest.mark.parametrize("no_breaks", [False, True])
@pytest.mark.parametrize("sparsity", [0.3, 0.55, 0.61, 0.7, 0.79, 0.8, 0.85, 0.9])
def test_one_share_everywhere_takes_what_it_took_before_shares_could_differ(no_breaks, sparsity):
    model = LatencyModel().fit(profile(no_breaks=no_breaks))
    alike = model.predict(SHAPE, W, pattern="unstructured", sparsity=sparsity)
    each = model.predict(SHAPE, W, pattern="unstructured", sparsity=(LayerZeros.even(sparsity),) * 2)
    assert each.ms == pytest.approx(alike.ms, rel=1e-12)
    assert (each.low_ms, each.high_ms) == pytest.approx((alike.low_ms, alike.high_ms), rel=1e-12)


def test_that_holds_for_models_that_memory_slows_down_too():
    chains = [made.timing(made.unit("ffn", 128), seconds_each=1e-4 + n * 1e-5, repeat=n) for n in (1, 2, 4, 8, 16, 32)]
    model = LatencyModel().fit(profile().with_ladder(chains))
    assert model.cache_facts(W)[1] > 0
    shape = made.shape(*[(4, 128)] * 12)
    for sparsity in (0.7, 0.85):
        alike = model.predict(shape, W, pattern="unstructured", sparsity=sparsity).ms
        each = model.predict(shape, W, pattern="unstructured", sparsity=(LayerZeros.even(sparsity),) * 12).ms
        assert each == pytest.approx(alike, rel=1e-9)


def test_a_part_owns_its_step_and_its_share_of_the_slope():
    """Over dense time the block gains 0.075 at 60 %, 0.325 just below 80 %, 0.45 there and 0.7 at 90 %."""
    curve = ffn_curve()
    assert part_breaks(curve) == (0.6, 0.8)
    reading, writing = (gained(curve, "ffn", part, 128, 0.9, dense) / DENSE for part in (0, 1))
    assert reading == pytest.approx(0.075 + 0.25 + 0.25 / 2)
    assert writing == pytest.approx(0.125 + 0.25 / 2)
    assert gained(curve, "ffn", 0, 128, 0.7, dense) / DENSE == pytest.approx(0.075 + 0.1 * 1.25)


def test_a_part_below_its_break_even_stays_dense():
    curve = ffn_curve()
    assert gained(curve, "ffn", 1, 128, 0.7, dense) == 0.0
    assert [is_sparse(curve, part, 0.7) for part in (0, 1)] == [True, False]
    assert mixed_seconds(curve, "ffn", 128, (0.0, 0.7), dense) == DENSE
    assert mixed_seconds(curve, "ffn", 128, (0.9, 0.7), dense) == pytest.approx(DENSE * (1 - 0.45))


def test_a_whole_model_is_its_glue_and_its_blocks():
    model, shape = LatencyModel().fit(profile()), made.shape((4, 128), (2, 128), (1, 64))
    zeros = (LayerZeros(ffn=(0.9, 0.0)), LayerZeros(ffn=(0.0, 0.9)), LayerZeros())
    expected = made.true_seconds(shape) - (0.45 + 0.25) * DENSE
    assert model.predict(shape, W, pattern="unstructured", sparsity=zeros).ms == pytest.approx(1e3 * expected)


def test_the_price_of_a_part_is_its_share_of_the_block_less_what_it_gains():
    model = LatencyModel().fit(profile())
    prices = [
        model.part_ms("ffn", part, 128, W, "fp32", "unstructured", s) for part, s in ((0, 0.0), (0, 0.9), (1, 0.7))
    ]
    assert prices == pytest.approx([1e3 * DENSE * share for share in (0.5, 0.5 - 0.45, 0.5)])
    assert model.part_range("ffn", 1, W, "fp32", "unstructured") == (0.8, 0.9)
    known = LatencyModel().fit(profile(no_breaks=True)).part_range("attention", 0, W, "fp32", "unstructured")
    assert known == (0.5, 0.9), "where nothing was measured about breaks"


def test_zeros_of_another_number_of_layers_are_refused():
    model = LatencyModel().fit(profile())
    with pytest.raises(TrimfitError, match="got zeros of 1 layers, expected 2"):
        model.predict(SHAPE, W, pattern="unstructured", sparsity=(LayerZeros(),))


def test_more_zeros_than_measured_are_unknown_in_any_part():
    model = LatencyModel().fit(profile())
    zeros = (LayerZeros(), LayerZeros(ffn=(0.0, 0.95)))
    with pytest.raises(TrimfitError, match="got 95% zeros in ffn, expected at most a measured sparsity"):
        model.predict(SHAPE, W, pattern="unstructured", sparsity=zeros)


def test_a_measured_model_teaches_what_its_like_takes(tmp_path):
    zeros = (LayerZeros.even(0.9), LayerZeros(ffn=(0.7, 0.0)))
    before = LatencyModel().fit(profile()).predict(SHAPE, W, pattern="unstructured", sparsity=zeros).ms
    seen = Anchor.of("student", SHAPE, W, "fp32", 1.3e-3 * before, pattern="unstructured", sparsity=zeros)
    taught = profile().with_anchor(seen)
    after = LatencyModel().fit(taught).predict(SHAPE, W, pattern="unstructured", sparsity=zeros).ms
    assert after == pytest.approx(1.3 * before, rel=0.03)
    assert LatencyProfile.load(taught.save(tmp_path / "p.json")) == taught


def test_the_mean_is_over_weights():
    """A layer has 4 * 384 * 128 weights of attention and 2 * 384 * 128 of the FFN: twice as many."""
    shape = made.shape((4, 128))
    assert mean_sparsity(shape, (LayerZeros(attention=(0.9, 0.1), ffn=(0.5, 0.0)),)) == pytest.approx(
        (2 * (0.75 * 0.9 + 0.25 * 0.1) + 0.5 * 0.5) / 3
    )
    assert mean_sparsity(shape, 0.7) == 0.7
    assert not has_zeros((LayerZeros(),))
    assert has_zeros((LayerZeros(), LayerZeros(ffn=(0.0, 0.1))))
