"""A profile is a value that keeps, merges, saves and knows where it comes from."""

from __future__ import annotations

import datetime
import json

import made_profile as made
import pytest
from pydantic import ValidationError
from rich.console import Console

from benchmarks.environment import MachineState, read_environment
from benchmarks.errors import TrimfitError
from hardware_profiles import (
    Anchor,
    Conditions,
    LatencyProfile,
    OnnxRuntimeCpu,
    OptionTrial,
    PrecisionTrial,
    RuntimeRecord,
    profile_instability,
    profile_table,
)


def test_it_is_the_same_after_saving_and_loading(tmp_path):
    profile = (
        made.profile().with_anchor(made.anchor(made.shape((2, 64)))).with_ladder([made.timing(made.unit("ffn", 64))])
    )
    assert LatencyProfile.load(profile.save(tmp_path / "new" / "profile.json")) == profile


def test_saving_leaves_only_the_profile(tmp_path):
    made.profile().save(tmp_path / "profile.json")
    assert [path.name for path in tmp_path.iterdir()] == ["profile.json"]


def test_its_runtime_has_the_options_that_won():
    assert made.profile().runtime == OnnxRuntimeCpu(disabled_optimizers=("SkipLayerNormFusion",))


def test_a_unit_is_found_by_what_it_is():
    profile = made.profile()
    assert profile.find(made.unit("ffn", 64), made.WORKLOAD, "fp32") == made.timing(made.unit("ffn", 64))
    assert profile.find(made.unit("ffn", 64), made.WORKLOAD, "int8") is None
    assert profile.find(made.unit("ffn", 65), made.WORKLOAD, "fp32") is None


def test_the_seconds_of_a_unit_are_those_of_its_graph_without_the_glue():
    assert made.timing(made.unit("attention", 2)).unit_seconds == pytest.approx(90e-6)


def test_measured_again_is_measured_anew():
    slow = made.timing(made.unit("ffn", 64), seconds_each=1.0)
    profile = made.profile().with_entries([slow])
    assert len(profile.entries) == len(made.profile().entries)
    assert profile.find(made.unit("ffn", 64), made.WORKLOAD, "fp32") == slow


def test_an_anchor_measured_again_replaces_the_first():
    first, second = (made.anchor(made.shape((2, 64)), factor) for factor in (1.0, 1.2))
    assert made.profile().with_anchor(first).with_anchor(second).anchors == (second,)


def test_an_anchor_is_made_from_anything_with_a_shape():
    anchor = Anchor.of("teacher", made.shape((4, 128)), made.WORKLOAD, "int8", 0.004)
    assert (anchor.source, anchor.seconds, anchor.shape) == ("model", 0.004, made.shape((4, 128)))


def test_profiles_of_one_device_and_runtime_merge():
    halves = made.profile().entries[::2], made.profile().entries[1::2]
    a, b = (made.profile().model_copy(update={"entries": half}) for half in halves)
    assert set(a.merge(b).entries) == set(made.profile().entries)


def test_profiles_of_different_devices_stay_apart():
    other = made.profile().model_copy(update={"device": made.DEVICE.model_copy(update={"cores": 8})})
    with pytest.raises(TrimfitError, match="got profiles with cores 1 against 8, expected one device"):
        made.profile().merge(other)


def test_profiles_of_different_provenance_stay_apart():
    proxy = made.profile().model_copy(
        update={"device": made.DEVICE.model_copy(update={"provenance": "measured_proxy"})}
    )
    with pytest.raises(TrimfitError, match="provenance measured_device against measured_proxy"):
        made.profile().merge(proxy)
    with pytest.raises(TrimfitError, match="provenance measured_device against measured_proxy"):
        made.profile().over(proxy)


def test_a_merged_profile_knows_the_days_of_both():
    first, second = (Conditions(date=datetime.date(2026, 11, day), trimfit="0.1.0") for day in (21, 22))
    a, b = made.profile().with_conditions(first), made.profile().with_conditions(second, first)
    assert a.merge(b).conditions == (first, second)


def test_a_shared_profile_names_no_file_and_merges_with_one_of_another_workload():
    def options(path, least):
        return {"custom_op_library": path, "break_even": {"fp32": {"64x32": least}}, "config": {"a": "b"}}

    a, b = (
        made.profile().model_copy(
            update={
                "runtime_record": RuntimeRecord(name="onnxruntime-cpu+sparse", version="1", options=options(*given))
            }
        )
        for given in (("/home/me/lib.so", 0.4), ("/opt/lib.so", 0.5))
    )
    assert a.shared().runtime_record.options == {"config": {"a": "b"}}
    assert set(a.merge(b).entries) == set(made.profile().entries)


def test_what_is_emulated_holds_no_time(tmp_path):
    path = made.profile().save(tmp_path / "profile.json")
    content = json.loads(path.read_text())
    content["device"]["provenance"] = "emulated_functional"
    path.write_text(json.dumps(content))
    with pytest.raises(TrimfitError, match=r"device.provenance: .* can hold no milliseconds"):
        LatencyProfile.load(path)


@pytest.mark.parametrize("field", ["ladder", "trials", "contests", "peaks", "bandwidths", "thread_scaling", "anchors"])
def test_what_is_emulated_holds_none_of_what_a_clock_told(field, tmp_path):
    known = {
        "ladder": [made.timing(made.unit("ffn", 32))],
        "trials": [OptionTrial(name="a", options={}, precision="fp32", workload=made.WORKLOAD, seconds=1)],
        "contests": [
            PrecisionTrial(
                precision="int8", rival="fp32", hidden_size=8, workload=made.WORKLOAD, seconds=1, rival_seconds=1
            )
        ],
        "peaks": [made.PEAK],
        "bandwidths": [made.BANDWIDTH],
        "thread_scaling": [made.anchor(made.shape((2, 64)))],
        "anchors": [made.anchor(made.shape((2, 64)))],
    }
    emulated = made.DEVICE.model_copy(update={"provenance": "emulated_functional"})
    empty = LatencyProfile(device=emulated, runtime=made.RUNTIME)
    empty.save(tmp_path / "empty.json")
    with pytest.raises(ValidationError, match=f"can hold no milliseconds, got {field}"):
        empty.model_copy(update={field: tuple(known[field])}).save(tmp_path / "profile.json")
    assert not (tmp_path / "profile.json").exists()


def test_profiles_under_different_options_stay_apart():
    other = made.profile().model_copy(update={"runtime_record": RuntimeRecord(name="onnxruntime-cpu", version="1.0")})
    with pytest.raises(TrimfitError, match="runtime options"):
        made.profile().merge(other)


def test_a_profile_of_another_device_is_named():
    with pytest.raises(TrimfitError, match="got a profile of slide rule with name slide rule against abacus"):
        made.profile().check(made.DEVICE.model_copy(update={"name": "abacus"}), OnnxRuntimeCpu())


def test_a_profile_of_another_provenance_is_not_taken_for_a_measurement():
    installed = RuntimeRecord.of(OnnxRuntimeCpu())
    published = made.DEVICE.model_copy(update={"provenance": "published"})
    profile = made.profile().model_copy(update={"device": published, "runtime_record": installed})
    with pytest.raises(TrimfitError, match="provenance published against measured_device"):
        profile.check(made.DEVICE, OnnxRuntimeCpu())


def test_all_that_differs_is_named_at_once():
    other = made.DEVICE.model_copy(update={"cores": 2, "cpu_limit": 1.5})
    installed = OnnxRuntimeCpu().version
    assert made.profile().difference(other, OnnxRuntimeCpu()) == (
        f"cores 1 against 2, cpu_limit None against 1.5, onnxruntime-cpu 1.0 against onnxruntime-cpu {installed}"
    )


def test_a_profile_of_another_version_is_named():
    installed = OnnxRuntimeCpu().version
    with pytest.raises(TrimfitError, match=f"onnxruntime-cpu 1.0 against onnxruntime-cpu {installed}"):
        made.profile().check(made.DEVICE, OnnxRuntimeCpu())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "expected a latency profile in JSON"),
        ("[]", "of format None, expected a latency profile of format 2"),
        ('{"format": 3}', "of format 3, expected a latency profile of format 2"),
        ('{"format": 2}', "with a broken field device"),
    ],
)
def test_a_broken_file_is_refused_in_one_line(tmp_path, text, message):
    path = tmp_path / "profile.json"
    path.write_text(text)
    with pytest.raises(TrimfitError, match=message):
        LatencyProfile.load(path)


def test_a_broken_entry_is_named_with_its_place(tmp_path):
    path = made.profile().save(tmp_path / "profile.json")
    content = json.loads(path.read_text())
    content["entries"][3]["seconds"] = -1
    path.write_text(json.dumps(content))
    with pytest.raises(TrimfitError, match=r"broken field entries\.3\.seconds"):
        LatencyProfile.load(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(TrimfitError, match=r"none\.json, expected a latency profile: No such file"):
        LatencyProfile.load(tmp_path / "none.json")


def test_a_steady_profile_has_nothing_to_say():
    assert profile_instability(made.profile()) == []


def test_unsteady_timings_are_told_with_their_size_and_a_remedy():
    shaky = made.profile(slower=1.0)
    entries = tuple(entry.model_copy(update={"iqr": 0.3 * entry.seconds}) for entry in shaky.entries)
    (sentence,) = profile_instability(shaky.model_copy(update={"entries": entries}))
    assert sentence.startswith("the typical graph's interquartile range is 30% of its time (limit 10%): close")


def test_other_processes_are_told():
    crowded = made.timing(made.unit("ffn", 64)).model_copy(update={"others": 0.6})
    (sentence,) = profile_instability(made.profile().with_entries([crowded]))
    assert sentence.startswith("1 of 12 graphs were timed while other processes kept up to 0.6 CPUs busy")


def test_drift_between_parts_is_told():
    drifted = made.profile().with_entries([made.timing(made.unit("ffn", 64), slower=1.25)])
    (sentence,) = profile_instability(drifted)
    assert "took up to 25% longer in another part" in sentence


def test_its_table_shows_every_width_and_what_zeros_bring():
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115 (closed with the test)
    console.print(profile_table(made.profile()))
    text = console.export_text()
    assert "slide rule" in text
    assert "SkipLayerNormFusion" in text
    assert "0.138" in text
    assert "1.00x" in text


def test_what_the_machine_did_meanwhile_is_told_once():
    calm = read_environment().model_copy(update={"governor": None, "before": MachineState(unix_seconds=1.0)})
    slow = calm.model_copy(update={"governor": "powersave"})
    runs = [slow.model_copy(update={"before": MachineState(unix_seconds=second)}) for second in (2.0, 3.0)]
    (sentence,) = profile_instability(made.profile().with_environments(calm, *runs))
    assert sentence.startswith("while it was measured CPU governor is powersave")


def test_a_run_has_one_environment_the_latest():
    first = read_environment()
    later = first.finished()
    assert made.profile().with_environments(first).with_environments(later).environments == (later,)
