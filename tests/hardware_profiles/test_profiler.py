"""Profiling measures what is missing, keeps it as it goes, and trusts only its own device."""

from __future__ import annotations

import warnings
from dataclasses import replace

import made_profile as made
import numpy as np
import pytest

from benchmarks.errors import DeviceUnreachableError, TrimfitError
from benchmarks.place import current_place
from benchmarks.workload import Workload
from hardware_profiles import (
    Conditions,
    EncoderShape,
    LatencyModel,
    LatencyProfile,
    OnnxRuntimeCpu,
    ProfileRequest,
    RuntimeRecord,
    bench,
    cached_profile,
    local_device,
    profile_path,
    profiler,
    run_profile,
)
from hardware_profiles.contest import worthwhile
from hardware_profiles.isa import instruction_sets

REQUEST = ProfileRequest(
    hidden_size=16, head_size=8, max_heads=2, max_ffn=32, depth=2, workload=Workload(seq_len=8),
    precisions=("fp32",), sparsities=(0.9,), budget="fast",
)  # fmt: skip


class FakeMeasuring:
    """Stands for measure_calls: every graph takes a millisecond, option sets what they are told to."""

    def __init__(self, seconds=None):
        self.seconds = seconds or {}
        self.timed = []

    def __call__(self, calls, *, budget, threads=1, seed=0):
        self.timed += list(calls)
        return {name: np.full(3, self.seconds.get(name, 1e-3)) for name in calls}


@pytest.fixture
def measuring(monkeypatch):
    fake = FakeMeasuring()
    monkeypatch.setattr("benchmarks.rig.measure_calls", fake)
    return fake


def profiled(cache, request=REQUEST, runtime=None, **options):
    return run_profile(local_device(), runtime or OnnxRuntimeCpu(), request, cache=cache, **options)


def test_a_tiny_profile_of_this_machine_predicts_itself(tmp_path):
    request = replace(REQUEST, precisions=("fp32", "int8"))
    profile = profiled(tmp_path, request)
    model = LatencyModel().fit(profile)
    for precision in request.precisions:
        prediction = model.predict(EncoderShape.uniform(16, 8, 2, 2, 32), request.workload, precision)
        assert 0 < prediction.low_ms < prediction.ms < prediction.high_ms
        assert model.widths("attention", request.workload, precision) == (0, 1, 2)
        assert model.zeros_speedup(request.workload, precision, 0.9) > 0
    assert {trial.name for trial in profile.trials} == {"stock", "SkipLayerNormFusion off"}


def test_what_is_known_is_not_measured_again(tmp_path, measuring):
    first = profiled(tmp_path)
    measuring.timed.clear()
    assert profiled(tmp_path) == first
    assert measuring.timed == []


def test_a_fresh_profile_measures_everything_again(tmp_path, measuring):
    profiled(tmp_path)
    timed = list(measuring.timed)
    measuring.timed.clear()
    profiled(tmp_path, fresh=True)
    assert sorted(measuring.timed) == sorted(timed)


def test_only_what_a_wider_request_lacks_is_measured(tmp_path, measuring):
    profiled(tmp_path)
    measuring.timed.clear()
    profiled(tmp_path, replace(REQUEST, max_ffn=64))
    assert "8 x FFN of 64" in measuring.timed
    assert "8 x FFN of 32" not in measuring.timed
    assert "8 x attention of 1 heads" not in measuring.timed


def test_another_workload_is_added_to_the_same_profile(tmp_path, measuring):
    longer = replace(REQUEST, workload=Workload(seq_len=16))
    profiled(tmp_path)
    both = profiled(tmp_path, longer)
    assert {entry.workload.seq_len for entry in both.entries} == {8, 16}
    assert len(list(tmp_path.iterdir())) == 1


def test_an_interrupted_profile_goes_on(tmp_path, monkeypatch, measuring):
    request = replace(REQUEST, precisions=("fp32", "int8"))

    def interrupt(label, share):
        if label.startswith("int8"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        profiled(tmp_path, request, progress=interrupt)
    measuring.timed.clear()
    labels = []
    profile = profiled(tmp_path, request, progress=lambda label, share: labels.append(label))
    assert not [label for label in labels if label.startswith("fp32")]
    assert {entry.precision for entry in profile.entries} == {"fp32", "int8"}


def test_an_interruption_loses_the_part_that_was_being_measured(tmp_path, monkeypatch):
    def interrupted(calls, *, budget, threads=1, seed=0):
        if any("zeros" in name for name in calls):
            raise KeyboardInterrupt
        return FakeMeasuring()(calls, budget=budget)

    request = replace(REQUEST, budget="default")
    monkeypatch.setattr("benchmarks.rig.measure_calls", interrupted)
    with pytest.raises(KeyboardInterrupt):
        profiled(tmp_path, request)
    fake = FakeMeasuring()
    monkeypatch.setattr("benchmarks.rig.measure_calls", fake)
    profile = profiled(tmp_path, request)
    zeros = {"1 x attention of 2 heads, 90% zeros", "1 x FFN of 32, 90% zeros"}
    assert {name.replace("8 x", "1 x") for name in fake.timed} == zeros | {"1 x glue", "reference"}
    assert len(profile.entries) == 7


def test_a_fast_profile_times_everything_at_once(tmp_path, measuring):
    profiled(tmp_path)
    assert measuring.timed.count("reference") == bench._PASSES["fast"]


class BehindALink:
    """This machine as one that is reached through a connection."""

    is_here = False

    def __init__(self):
        self.here = current_place()

    def __getattr__(self, name):
        return getattr(self.here, name)


def test_behind_a_link_a_fast_profile_comes_in_parts_too(tmp_path, measuring, monkeypatch):
    monkeypatch.setattr(bench, "current_place", BehindALink)
    profiled(tmp_path)
    assert measuring.timed.count("reference") > bench._PASSES["fast"]


def test_blocks_take_turns_with_the_whole_models_that_correct_their_sum(tmp_path, monkeypatch):
    together = []

    def measure(calls, *, budget, threads=1, seed=0):
        together.append(set(calls))
        return FakeMeasuring()(calls, budget=budget)

    monkeypatch.setattr("benchmarks.rig.measure_calls", measure)
    profiled(tmp_path, replace(REQUEST, budget="default"))
    assert any({"8 x FFN of 32", "8 x attention of 1 heads", "full", "uneven"} <= names for names in together)


def test_progress_grows_to_1(tmp_path, measuring):
    shares = []
    profiled(tmp_path, progress=lambda label, share: shares.append(share))
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert shares[-1] == 1


def test_the_option_set_that_wins_is_the_profiles_runtime(tmp_path, measuring):
    measuring.seconds = {"SkipLayerNormFusion off": 0.9e-3}
    assert profiled(tmp_path).runtime.disabled_optimizers == ("SkipLayerNormFusion",)


def test_stock_options_stay_unless_they_clearly_lose(tmp_path, measuring):
    measuring.seconds = {"SkipLayerNormFusion off": 0.995e-3}
    assert profiled(tmp_path).runtime.disabled_optimizers == ()


def test_options_that_were_asked_for_are_kept_and_cached_apart(tmp_path, measuring):
    asked = OnnxRuntimeCpu(graph_optimization_level="extended")
    profile = profiled(tmp_path, runtime=asked)
    assert profile.runtime == asked
    assert profile.trials == ()
    assert profile_path(tmp_path, local_device(), asked) != profile_path(tmp_path, local_device(), OnnxRuntimeCpu())


def test_a_profile_of_another_device_is_not_used(tmp_path, measuring):
    device, runtime = local_device(), OnnxRuntimeCpu()
    path = profile_path(tmp_path, device, runtime)
    made.profile().save(path)
    with pytest.warns(UserWarning, match="measuring again: got a profile of slide rule with name slide rule against"):
        assert cached_profile(path, device, runtime).entries == ()
    assert LatencyProfile.load(path.with_suffix(".unusable")) == made.profile()


def test_a_profile_of_another_version_or_under_other_limits_is_named_when_it_is_not_used(tmp_path, measuring):
    device, runtime = local_device(), OnnxRuntimeCpu()
    older = RuntimeRecord(name=runtime.name, version="1.0")
    throttled = device.model_copy(update={"cpu_limit": 0.25})
    LatencyProfile(device=device, runtime=older).save(tmp_path / f"{device.fingerprint}-{runtime.name}-1.0.json")
    LatencyProfile(device=throttled, runtime=RuntimeRecord.of(runtime)).save(profile_path(tmp_path, throttled, runtime))
    with pytest.warns(UserWarning, match="measuring anew, since none of these fits") as caught:
        profiled(tmp_path)
    said = " ".join(str(warning.message) for warning in caught)
    assert f"{runtime.name}-1.0.json has {runtime.name} 1.0 against {runtime.name} {runtime.version}" in said
    assert f"has cpu_limit 0.25 against {device.cpu_limit}" in said


def test_a_profile_says_on_which_days_it_grew(tmp_path, measuring):
    assert profiled(tmp_path).conditions == (Conditions.now(),)
    assert profiled(tmp_path).conditions == (Conditions.now(),)


def test_a_corrupt_cache_is_measured_again(tmp_path, measuring):
    path = profile_path(tmp_path, local_device(), OnnxRuntimeCpu())
    path.write_text('{"format": 1, "dev')
    with pytest.warns(UserWarning, match="measuring again: got .* expected a latency profile in JSON"):
        profile = profiled(tmp_path)
    assert LatencyProfile.load(path) == profile


def test_a_sound_cache_raises_no_warning(tmp_path, measuring):
    profiled(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        profiled(tmp_path)


BOTH = replace(REQUEST, precisions=("fp32", "int8"))


def test_a_precision_that_beats_its_rival_is_profiled(tmp_path, measuring):
    measuring.seconds = {"int8": 1.1e-3}
    profile = profiled(tmp_path, BOTH)
    assert profile.precisions == ("fp32", "int8", "int8-static")
    assert str(profile.contests[0]) == "int8-static: 1.10x of int8 measured on this device: profiled"


def test_a_precision_that_does_not_clearly_beat_its_rival_is_not_profiled_and_not_tried_again(tmp_path, measuring):
    measuring.seconds = {"int8": 1.009e-3}
    profile = profiled(tmp_path, BOTH)
    assert profile.precisions == ("fp32", "int8")
    assert str(profile.contests[0]) == "int8-static: 1.01x of int8 measured on this device: not profiled"
    measuring.timed.clear()
    assert profiled(tmp_path, BOTH) == profile
    assert measuring.timed == []


def test_a_contested_precision_that_is_asked_for_is_profiled_without_a_contest(tmp_path, measuring):
    profile = profiled(tmp_path, replace(BOTH, precisions=("fp32", "int8", "int8-static")))
    assert profile.precisions == ("fp32", "int8", "int8-static")
    assert profile.contests == ()


def test_what_was_forced_once_does_not_come_back_unasked(tmp_path, measuring):
    profiled(tmp_path, replace(BOTH, precisions=("fp32", "int8", "int8-static")))
    profile = profiled(tmp_path, BOTH)
    part = profile.only(16, 8, REQUEST.workload, "gelu", precisions=worthwhile(profile, BOTH))
    assert part.precisions == ("fp32", "int8")
    assert {anchor.precision for anchor in part.anchors} == {"fp32", "int8"}


def test_a_precision_that_the_runtime_lacks_is_refused(tmp_path):
    with pytest.raises(TrimfitError, match="got precision 'int3' for onnxruntime-cpu, expected one of fp32, int8"):
        profiled(tmp_path, replace(REQUEST, precisions=("int3",)))


def test_graphs_that_do_not_fit_into_memory_together_are_timed_in_batches(tmp_path, measuring, monkeypatch):
    monkeypatch.setattr(bench, "_MEMORY_SHARE", 1e-9)
    profile = profiled(tmp_path)
    assert measuring.timed.count("reference") > 10
    assert len(profile.entries) == 7


def test_the_cache_folder_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("TRIMFIT_CACHE", str(tmp_path))
    assert profiler.cache_folder() == tmp_path / "profiles"


def test_this_cpu_is_recognised():
    assert instruction_sets() == local_device().isa


def test_what_was_timed_while_the_reference_was_slower_is_timed_again(tmp_path, measuring):
    request = replace(REQUEST, budget="default")
    plain = len(profiled(tmp_path / "steady", request).entries)
    steady, measuring.timed = measuring.timed, []
    seconds = iter([1.2e-3] * bench._PASSES["default"])  # while the first batch is timed
    faster = measuring.__call__

    def slow_at_first(calls, **options):
        found = faster(calls, **options)
        if "reference" in calls and (slow := next(seconds, None)):
            return {name: np.full(3, slow) for name in calls}
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmarks.rig.measure_calls", slow_at_first)
        profile = profiled(tmp_path / "slow at first", request)
    assert len(profile.entries) == plain
    assert {entry.reference_seconds for entry in profile.entries} == {1e-3}
    assert measuring.timed.count("reference") == steady.count("reference") + bench._PASSES["default"]


def test_the_machine_before_and_after_stands_beside_the_times(tmp_path, measuring):
    (environment,) = profiled(tmp_path).environments
    assert environment.after.unix_seconds >= environment.before.unix_seconds
    assert environment.cores == local_device().cores
    again = profiled(tmp_path, replace(REQUEST, precisions=("int8",)))
    assert len(again.environments) == 2


def test_what_was_measured_before_the_link_broke_is_kept(tmp_path, measuring, monkeypatch):
    class Broken(BehindALink):
        def finished(self, environment, worked):
            raise DeviceUnreachableError("the link is broken")

    monkeypatch.setattr(profiler, "current_place", Broken)
    (environment,) = profiled(tmp_path).environments
    assert environment.after is None
    kept = cached_profile(profile_path(tmp_path, local_device(), OnnxRuntimeCpu()), local_device(), OnnxRuntimeCpu())
    assert kept.entries
