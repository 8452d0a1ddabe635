"""Calls of several lengths: a profile knows each, and a prediction is their weighted sum."""

from __future__ import annotations

import made_profile as made
import numpy as np
import pytest

from benchmarks import Lengths, Workload
from benchmarks.errors import TrimfitError
from hardware_profiles import (
    BreakEven,
    EncoderShape,
    LatencyModel,
    OnnxRuntimeCpu,
    ProfileRequest,
    local_device,
    run_profile,
)

SHORT, LONG = Workload(seq_len=16), Workload(seq_len=48)
SHARES = 0.75, 0.25
MIX = Workload.over(Lengths(points=((16, SHARES[0]), (48, SHARES[1])), shortest=4, longest=60))
SHAPE = made.shape((4, 128), (2, 64), (0, 32))
SLOWER = 3.0  # everything at the greater length, but for blocks that have a time of their own
LAYER = "128x384"
ZEROS = {"pattern": "unstructured", "sparsity": 0.9}


def entries(workload, factor, widths=None):
    """Every unit at a workload, `factor` times as slow; of the dense ones only those of `widths`, if given."""
    for unit in made.units():
        if widths is None or unit.sparsity or unit.width in widths:
            found = made.timing(unit, workload=workload)
            fields = ("seconds", "glue_seconds", "reference_seconds")
            yield found.model_copy(update={name: factor * getattr(found, name) for name in fields})


@pytest.fixture
def profile():
    empty = made.profile().model_copy(update={"entries": ()})
    return empty.with_entries(entries(SHORT, 1.0)).with_entries(entries(LONG, SLOWER, widths=(0, 1, 4, 32, 128)))


@pytest.fixture
def model(profile):
    return LatencyModel().fit(profile)


def weighted(of):
    return sum(share * of(workload) for workload, share in zip((SHORT, LONG), SHARES, strict=True))


def test_a_prediction_is_the_weighted_sum_of_those_at_each_length(model):
    factor = SHARES[0] + SHARES[1] * SLOWER
    assert model.predict(SHAPE, MIX).ms == pytest.approx(factor * 1e3 * made.true_seconds(SHAPE))
    with_zeros = weighted(lambda w: model.predict(SHAPE, w, **ZEROS).ms)
    assert model.predict(SHAPE, MIX, **ZEROS).ms == pytest.approx(with_zeros)


def test_its_interval_is_as_wide_as_if_all_erred_alike(model):
    mixed = model.predict(SHAPE, MIX)
    assert mixed.low_ms == pytest.approx(weighted(lambda w: model.predict(SHAPE, w).low_ms))
    assert mixed.high_ms == pytest.approx(weighted(lambda w: model.predict(SHAPE, w).high_ms))


def test_blocks_and_glue_are_weighted_sums_too(model):
    assert model.overhead_ms(MIX) == pytest.approx(weighted(model.overhead_ms))
    assert model.unit_ms("ffn", 128, MIX) == pytest.approx(weighted(lambda w: model.unit_ms("ffn", 128, w)))
    parts = [model.unit_ms("attention", x.heads, MIX) + model.unit_ms("ffn", x.ffn, MIX) for x in SHAPE.layers]
    assert model.predict(SHAPE, MIX).ms == pytest.approx(model.overhead_ms(MIX) + sum(parts))


def test_the_budget_is_the_sum_that_is_predicted_to_take_the_target(profile):
    anchors = [made.anchor(SHAPE, 1.1), made.anchor(made.shape((4, 128)), 1.1, name="b")]
    slowed = {"workload": LONG, "reference_seconds": SLOWER * 1e-3}
    slow = [a.model_copy(update={**slowed, "seconds": SLOWER * a.seconds}) for a in anchors]
    quick = [a.model_copy(update={"workload": SHORT}) for a in anchors]
    model = LatencyModel().fit(profile.with_anchor(*quick, *slow))
    parts = [model.unit_ms("attention", x.heads, MIX) + model.unit_ms("ffn", x.ffn, MIX) for x in SHAPE.layers]
    total = model.overhead_ms(MIX) + sum(parts)
    assert model.predict(SHAPE, MIX).ms > 1.02 * total, "whole models take more than their parts here"
    assert model.budget_ms(model.predict(SHAPE, MIX).ms, MIX) == pytest.approx(total, rel=1e-6)


def test_what_was_measured_of_a_real_model_at_each_length_is_believed(profile):
    seen = [
        made.anchor(SHAPE, source="model", name=str(w)).model_copy(update={"workload": w, "seconds": ms / 1e3})
        for w, ms in ((SHORT, 0.8), (LONG, 1.9))
    ]
    assert LatencyModel().fit(profile.with_anchor(*seen)).predict(SHAPE, MIX).ms == pytest.approx(
        0.75 * 0.8 + 0.25 * 1.9, rel=0.03
    )


def test_widths_are_those_measured_at_any_length_up_to_what_all_know(profile):
    model = LatencyModel().fit(profile.with_entries([made.timing(made.unit("ffn", 256), workload=SHORT)]))
    assert model.widths("ffn", MIX) == made.FFN_WIDTHS
    assert model.widths("ffn", SHORT)[-1] == 256
    assert model.widths("attention", MIX) == made.HEAD_WIDTHS
    with pytest.raises(TrimfitError, match=r"got 256 neurons, expected at most 128 as measured for .*48 tokens"):
        model.unit_ms("ffn", 256, MIX)


def test_a_length_that_was_not_measured_is_named(profile):
    model = LatencyModel().fit(profile.model_copy(update={"entries": tuple(entries(SHORT, 1.0))}))
    with pytest.raises(TrimfitError, match=r"got .*48 tokens.*, expected one of the measured: .*16 tokens"):
        model.predict(SHAPE, MIX)


def test_zeros_count_by_what_they_save_over_all_lengths(profile):
    """At 90 % zeros blocks take half at the smaller length and as long as ever at the greater one."""
    widest = [made.unit(kind, width, 0.9) for kind, width in (("attention", 4), ("ffn", 128))]
    halved = [made.timing(unit, made.cost(unit) / 2, workload=SHORT) for unit in widest]
    model = LatencyModel().fit(profile.with_entries(halved))
    dense = SHARES[0] + SHARES[1] * SLOWER
    assert model.zeros_speedup(MIX, "fp32", 0.9) == pytest.approx(dense / (SHARES[0] / 2 + SHARES[1] * SLOWER))


def pays(at, sparsity, out_features=128):
    return BreakEven(out_features=out_features, in_features=384, workload=at, precision="fp32", sparsity=sparsity)


def test_a_layer_becomes_sparse_where_that_pays_at_every_length(profile):
    known = profile.with_break_even([pays(SHORT, 0.6), pays(LONG, 0.4), pays(SHORT, 0.3, 384), pays(LONG, 2.0, 384)])
    asked = known.only(made.HIDDEN, made.HEAD, MIX, "gelu")
    at_one = known.only(made.HIDDEN, made.HEAD, LONG, "gelu")
    assert asked.runtime_record.options["break_even"] == {"fp32": {LAYER: 0.6, "384x384": 2.0}}
    assert at_one.runtime_record.options["break_even"] == {"fp32": {LAYER: 0.4, "384x384": 2.0}}


def test_zeros_are_asked_for_where_they_pay_at_every_length(profile):
    model = LatencyModel().fit(profile.with_break_even([pays(SHORT, 0.6), pays(LONG, 0.4)]))
    assert model.sparsity_range(SHORT, "fp32", "unstructured") == (0.6, 0.9)
    assert model.sparsity_range(LONG, "fp32", "unstructured") == (0.4, 0.9)
    assert model.sparsity_range(MIX, "fp32", "unstructured") == (0.6, 0.9)


def test_the_part_about_a_mix_is_the_parts_about_its_lengths(profile):
    other = made.timing(made.unit("ffn", 64))  # at 64 tokens
    assert set(profile.with_entries([other]).only(made.HIDDEN, made.HEAD, MIX, "gelu").entries) == set(profile.entries)


# what is measured


BERT = ProfileRequest(hidden_size=768, head_size=64, max_heads=12, max_ffn=3072, depth=12)
MINI = ProfileRequest(hidden_size=384, head_size=32, max_heads=12, max_ffn=1536, depth=6)
THREE = Workload.over(Lengths(points=((9, 0.5), (20, 0.3), (45, 0.2)), shortest=4, longest=60))


def graphs(request, precision):
    units = [unit for kind in ("attention", "ffn") for unit in request.units(kind, precision)]
    return len(units) + len(request.ladder(precision)) + len(request.anchors(precision)) + 2


def of(request, **changes):
    return request.__class__(**{**vars(request), **changes})


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_three_lengths_are_about_twice_the_work_of_one(precision):
    for request in (BERT, MINI):
        parts = of(request, workload=THREE).parts()
        assert len(parts) == 3
        assert sum(graphs(part, precision) for part in parts) <= 2 * graphs(request, precision)


def test_the_length_with_most_tokens_is_known_in_full_and_first():
    first, *others = of(MINI, workload=THREE).parts()
    assert first == of(MINI, workload=Workload(seq_len=45))
    assert [(part.workload.seq_len, part.thin) for part in others] == [(9, True), (20, True)]


def test_a_plain_request_is_its_only_part():
    assert MINI.parts() == (MINI,)


def test_a_thin_request_keeps_the_ends_and_enough_rungs_to_learn_from():
    thin = of(BERT, thin=True)
    for kind in ("attention", "ffn"):
        widths, whole = ([u.width for u in r.units(kind) if not u.sparsity] for r in (thin, BERT))
        assert {whole[0], whole[1], whole[-1]} <= set(widths) <= set(whole)
        assert [u.sparsity for u in thin.units(kind) if u.sparsity] == [0.5, 0.95]
    assert 4 <= len(thin.ladder("int8")) < len(BERT.ladder("int8"))
    assert {"full", "one narrow layer"} <= set(thin.anchors()) < set(BERT.anchors())


TINY = ProfileRequest(
    hidden_size=16, head_size=8, max_heads=2, max_ffn=32, depth=2, workload=MIX,
    precisions=("fp32",), sparsities=(0.9,), budget="fast",
)  # fmt: skip


def test_every_length_is_profiled_once(tmp_path, monkeypatch):
    timed = []

    def measuring(calls, *, budget, threads=1, seed=0):
        timed.append(list(calls))
        return {name: np.full(3, 1e-3) for name in calls}

    monkeypatch.setattr("benchmarks.rig.measure_calls", measuring)
    shares = []
    options = {"cache": tmp_path, "progress": lambda label, share: shares.append(share)}
    profile = run_profile(local_device(), OnnxRuntimeCpu(), TINY, **options)
    assert {entry.workload for entry in profile.entries} == {SHORT, LONG}
    assert {trial.workload for trial in profile.trials} == {SHORT}, "options are chosen once"
    assert LatencyModel().fit(profile).predict(EncoderShape.uniform(16, 8, 2, 2, 32), MIX).ms > 0
    assert shares == sorted(shares)
    assert shares[-1] == 1
    timed.clear()
    run_profile(local_device(), OnnxRuntimeCpu(), TINY, cache=tmp_path)
    assert timed == []
