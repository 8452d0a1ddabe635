"""The latency prediction study: what it draws, how it judges, its file; the measuring itself is done by hand."""

import json
import math
from collections import Counter
from contextlib import nullcontext

import pytest
from rich.console import Console

from benchmarks import TrimfitError, Workload
from benchmarks.suites.latency_prediction import __main__ as suite
from benchmarks.suites.latency_prediction import session
from benchmarks.suites.latency_prediction.accuracy import accuracy, error_percent, summary
from benchmarks.suites.latency_prediction.clock import clock, near_ms
from benchmarks.suites.latency_prediction.group import GROUPS, QUICK_GROUPS, Group
from benchmarks.suites.latency_prediction.held_out import held_out
from benchmarks.suites.latency_prediction.model import KINDS, Model
from benchmarks.suites.latency_prediction.predictor import Profiles
from benchmarks.suites.latency_prediction.ranking import BAND, candidates, near, random_regret, regret
from benchmarks.suites.latency_prediction.session import Session
from benchmarks.suites.latency_prediction.study import Study
from benchmarks.suites.latency_prediction.targets import accuracy_met, verdicts
from hardware_profiles import Device, LatencyProfile, ProfileRequest, RuntimeRecord, Unit, UnitTiming

CONDITIONS = {"device": "slide rule, 1 cores", "packages": {"onnxruntime": "1.0"}, "budget": "fast"}
TINY = Group(8, 4, max_heads=2, max_ffn=32, depth=2, workload=Workload(seq_len=4), models=8)


def widths(models):
    return [layer for model in models for layer in model.shape.layers]


def entry(error=0.0, number=0, threads=1, **other):
    """A model of 100 ms whose prediction was off by so many percent."""
    return {
        "group": "a group",
        "number": number,
        **Model(TINY.full, "fp32").as_json(),
        "workload": {"batch": 1, "seq_len": 4, "threads": threads},
        "predicted_ms": 100 + error,
        "low_ms": 95 + error,
        "high_ms": 105 + error,
        "measured_ms": 100.0,
        "clock": 1.0,
        "error_percent": error,
        "error_without_clock_percent": 2 * error,
        "error_of_profile_alone_percent": 3 * error,
        "unstable": [],
        **other,
    }


def result(within_5=100.0, within_10=100.0, bias=0.0, regret_percent=0.0):
    found = {"within_5_percent": within_5, "within_10_percent": within_10, "bias_percent": bias}
    return {**found, "ranking": {"regret_percent": regret_percent}}


# -- what is drawn ------------------------------------------------------------------------------------------


def test_sixty_models_of_every_kind_alike_on_one_thread_and_on_two():
    models = [(model, group.workload.threads) for group in GROUPS for model in held_out(group)]
    assert Counter((model.precision, model.pattern) for model, _ in models) == dict.fromkeys(KINDS, 15)
    assert Counter(threads for _, threads in models) == {1: 30, 2: 30}


@pytest.mark.parametrize("group", [*GROUPS, *QUICK_GROUPS], ids=lambda group: group.label)
def test_models_are_drawn_within_the_ranges_and_none_is_in_the_profile(group):
    models = held_out(group)
    assert models == held_out(group)
    assert models != held_out(group, seed=1)
    assert all(2 <= len(model.shape.layers) <= group.depth for model in models)
    assert all(0 <= x.heads <= group.max_heads and 0 <= x.ffn <= group.max_ffn for x in widths(models))
    assert all(x.heads or x.ffn for x in widths(models))
    assert all((model.sparsity == 0) == (model.pattern == "dense") for model in models)
    assert all(0.5 <= model.sparsity <= 0.95 for model in models if model.sparsity)
    sizes = group.hidden_size, group.head_size, group.max_heads, group.max_ffn, group.depth, group.workload
    anchors = [whole.shape for whole in ProfileRequest(*sizes).anchors().values()]
    assert not {model.shape for model in models} & {group.full, *anchors}


def test_groups_cover_the_lengths_and_widths_that_are_promised():
    assert {group.hidden_size for group in GROUPS} >= {256, 768}
    assert {group.workload.seq_len for group in GROUPS} >= {16, 384}
    assert all(group.depth == 12 for group in GROUPS)


def test_most_widths_are_none_that_a_profile_measures_and_some_blocks_are_removed():
    drawn = [layer for group in GROUPS for layer in widths(held_out(group))]
    assert sum(layer.ffn % 16 != 0 for layer in drawn) > len(drawn) / 2
    assert 0.05 < sum(not layer.heads or not layer.ffn for layer in drawn) / len(drawn) < 0.15


# -- ranking ------------------------------------------------------------------------------------------------


def test_the_regret_is_what_the_predicted_best_takes_more_than_the_fastest():
    assert regret([1.0, 2.0, 3.0], [11.0, 10.0, 12.0]) == pytest.approx(0.1)
    assert regret([2.0, 1.0, 3.0], [11.0, 10.0, 12.0]) == 0.0
    assert random_regret([11.0, 10.0, 12.0]) == pytest.approx(0.1)


def test_candidates_are_near_the_target_and_different():
    models = [Model(TINY.shape(depth, 1, 1), "fp32") for depth in (1, 100, 107, 109, 92, 91, 100, 94)]
    found = near(iter(models), lambda model: float(len(model.shape.layers)), 100.0, 3)
    assert [len(model.shape.layers) for model in found] == [100, 107, 92]


def as_long_as_wide(model):
    return 10.0 + sum(layer.heads + layer.ffn / 100 for layer in model.shape.layers) * (1 - model.sparsity)


def test_twenty_candidates_are_of_all_kinds_and_of_other_forms_than_one():
    group = GROUPS[0]
    found = candidates(group, as_long_as_wide, 30.0)
    assert found == candidates(group, as_long_as_wide, 30.0)
    assert Counter((model.precision, model.pattern) for model in found) == dict.fromkeys(KINDS, 5)
    assert all(abs(as_long_as_wide(model) / 30.0 - 1) <= BAND for model in found)
    uneven = [len(set(model.shape.layers)) > 1 for model in found]
    assert any(uneven)
    assert not all(uneven)


def test_kinds_that_do_not_reach_the_target_leave_their_places_to_others():
    def only_fp32(model):
        return as_long_as_wide(model) if model.precision == "fp32" else math.inf

    found = candidates(GROUPS[0], only_fp32, 30.0)
    assert Counter(model.precision for model in found) == {"fp32": 20}


# -- judging ------------------------------------------------------------------------------------------------


def test_errors_are_signed_and_relative_to_what_was_measured():
    assert error_percent(8.0, 10.0) == pytest.approx(-20)


def test_accuracy_counts_errors_of_either_sign():
    found = accuracy([-4.0, 5.0, -6.0, 11.0])
    assert (found["within_5_percent"], found["within_10_percent"]) == (50, 75)
    assert (found["bias_percent"], found["worst_percent"], found["models"]) == (1.5, 11, 4)
    assert accuracy([])["within_5_percent"] is None


def test_the_result_tells_the_accuracy_by_runtime_pattern_and_precision():
    zeros = Model(TINY.full, "int8", "block", 0.8).as_json()
    found = summary([entry(1.0), entry(-7.0, threads=2, **zeros)])
    assert found["within_5_percent"] == 50
    assert found["by"]["onnxruntime-cpu, dense, fp32"]["bias_percent"] == 1
    assert found["by"]["onnxruntime-cpu+sparse, block, int8"]["bias_percent"] == -7
    assert [part["models"] for part in found["by_threads"].values()] == [1, 1]
    assert (found["without_clock"]["worst_percent"], found["profile_alone"]["worst_percent"]) == (-14, -21)
    assert found["inside_interval_percent"] == 50


def test_an_interval_holds_on_the_clock_of_its_measurement():
    assert summary([entry(measured_ms=110.0, clock=1.1)])["inside_interval_percent"] == 100
    assert summary([entry(measured_ms=110.0, clock=1.0)])["inside_interval_percent"] == 0


@pytest.mark.parametrize(
    ("found", "met"),
    [
        (result(), [True] * 4),
        (result(within_5=90.0), [True] * 4),
        (result(within_5=89.9), [False, True, True, True]),
        (result(within_10=98.33), [True, False, True, True]),
        (result(bias=-1.49), [True] * 4),
        (result(bias=-1.5), [True, True, False, True]),
        (result(regret_percent=2.0), [True] * 4),
        (result(regret_percent=2.1), [True, True, True, False]),
        (result(None, None, None, None), [None] * 4),
    ],
)
def test_targets_are_met_at_their_limits_and_not_beyond(found, met):
    assert [verdict.met for verdict in verdicts(found)] == met
    assert accuracy_met(found) == (None if met[0] is None else all(met[:3]))


# -- the file -----------------------------------------------------------------------------------------------


def test_the_file_holds_what_scripts_may_rely_on(tmp_path):
    study = Study(tmp_path / "study.json", CONDITIONS)
    study.add_models([entry(2.0), entry(-8.0, number=1)])
    kept = json.loads(study.path.read_text())
    assert (kept["within_5_percent"], kept["within_10_percent"], kept["bias_percent"]) == (50, 100, -3)
    assert [model["error_percent"] for model in kept["models"]] == [2, -8]
    assert kept["conditions"] == CONDITIONS
    assert kept["ranking"]["regret_percent"] is None
    assert [target["met"] for target in kept["targets"]] == [False, True, False, None]


def test_a_study_is_read_again_and_shown(tmp_path, capsys):
    study = Study(tmp_path / "study.json", CONDITIONS)
    study.add_group("a group", {"unsteady": ["too warm"]})
    study.add_models([entry(2.0)])
    row = {**Model(TINY.full, "fp32").as_json(), "predicted_ms": 1.0, "measured_ms": 1.0}
    study.add_ranking(
        {
            "group": "a group",
            "target_ms": 1.0,
            "regret_percent": 2.5,
            "random_regret_percent": 4.0,
            "candidates": [row, {**row, "measured_ms": 0.975}],
        }
    )
    suite.main(["--json", str(study.path), "--show"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "1 random whole models" in shown
    assert "too warm" in shown
    assert "NOT met" in shown
    again = Study(study.path, CONDITIONS)
    assert again.has_model("a group", 0)
    assert not again.has_model("a group", 1)
    assert again.has_ranking("a group")
    assert again.result == study.result


def test_numbers_of_two_versions_never_share_a_file(tmp_path):
    Study(tmp_path / "study.json", CONDITIONS).save()
    with pytest.raises(TrimfitError, match="with budget fast, expected default: name another file"):
        Study(tmp_path / "study.json", {**CONDITIONS, "budget": "default"})


def test_there_is_nothing_to_show_without_a_study(tmp_path):
    with pytest.raises(TrimfitError, match="no such file"):
        Study(tmp_path / "study.json")
    (tmp_path / "study.json").write_text("[]")
    with pytest.raises(TrimfitError, match="expected a study of latency predictions"):
        Study(tmp_path / "study.json")


# -- the clock ----------------------------------------------------------------------------------------------


def test_the_clock_is_that_of_the_rounds_a_model_was_timed_in(measurement):
    full = [measurement([[10.0] * 8, [12.0] * 20])] * 3  # in a second launch, which the model lacks, all was slower
    assert clock(measurement([[3.0] * 8]), full, full_ms=10e3) == pytest.approx(1.0)


def test_with_few_rounds_in_common_medians_are_compared(measurement):
    full = [measurement([[12.0, 12.0]])] * 3
    assert clock(measurement([[3.0, 3.0]]), full, full_ms=10e3) == pytest.approx(1.2)


def test_of_two_threads_the_rounds_of_near_cpus_are_compared(measurement):
    two = Workload(threads=2)
    far = [1.0, 1.0, 1.0, 1.0, 1.6]
    full = [measurement([[10.0 * state for state in far]] * 4, workload=two)] * 3
    m = measurement([[3.0 * state for state in reversed(far)]] * 4, workload=two)
    assert near_ms(m) == pytest.approx(3e3)
    assert clock(m, full, full_ms=10e3) == pytest.approx(1.0)


# -- a group from start to end, on a machine whose every cost is known --------------------------------------


def seconds(shape):
    return 1e-3 + sum(1e-3 * layer.heads + 1e-4 * layer.ffn for layer in shape.layers)


def profiled(precision):
    for kind, most, each in (("attention", 2, 1e-3), ("ffn", 32, 1e-4)):
        for width in (0, 1, most):
            unit = Unit(kind=kind, hidden_size=8, head_size=4, width=width)
            yield UnitTiming(
                unit=unit,
                workload=TINY.workload,
                precision=precision,
                repeat=1,
                seconds=1e-3 + each * width,
                iqr=0,
                n=1,
                glue_seconds=1e-3,
            )


class Quiet:
    def __init__(self):
        self.said = []

    def step(self, title):
        return nullcontext(lambda share: None)

    def say(self, sentence):
        self.said.append(sentence)


@pytest.fixture
def machine(monkeypatch, measurement):
    """A machine that takes the true seconds, slower by a factor in every later run; it lists what it timed."""
    profile = LatencyProfile(
        device=Device(name="slide rule"),
        runtime=RuntimeRecord(name="onnxruntime-cpu", version="1.0"),
        entries=(*profiled("fp32"), *profiled("int8")),
    )
    runs, slower = [], {}

    def time_models(models, workload, **other):
        factor = slower.get(len(runs), 1.0)
        runs.append(list(models))
        took = {name: factor * seconds(model.shape) * slower.get(name, 1.0) for name, (model, _) in models.items()}
        return {name: measurement([[s, s], [s, s]], name=name, workload=workload) for name, s in took.items()}

    monkeypatch.setattr(session, "time_models", time_models)
    monkeypatch.setattr(session.Profiles, "measured", classmethod(lambda cls, *arguments: Profiles(profile, None)))
    return runs, slower


def test_a_machine_that_became_slower_after_the_profile_is_no_error(machine, tmp_path):
    _, slower = machine
    slower[1] = 1.25  # the run of the held-out fp32 models
    study = Study(tmp_path / "study.json", CONDITIONS)
    Session(study, TINY, Quiet()).run()
    found = [model for model in study.models if model["precision"] == "fp32"]
    assert [model["number"] for model in found] == [0, 4]
    for model in found:
        assert model["clock"] == pytest.approx(1.25)
        assert model["error_percent"] == pytest.approx(0, abs=0.1)
        assert model["error_without_clock_percent"] == pytest.approx(-20, abs=0.1)


def test_one_slow_copy_of_the_full_model_is_in_no_error(machine, tmp_path):
    _, slower = machine
    slower["full model fp32 1"] = 1.2
    study = Study(tmp_path / "study.json", CONDITIONS)
    Session(study, TINY, Quiet()).run()
    assert [model["clock"] for model in study.models] == pytest.approx([1.0] * 4)


def test_what_a_held_out_model_takes_enters_no_prediction(machine, tmp_path):
    _, slower = machine
    Session(truth := Study(tmp_path / "truth.json", CONDITIONS), TINY, Quiet()).run()
    machine[0].clear()
    slower["0"] = 3.0  # model 0 is slower than anyone could know
    Session(study := Study(tmp_path / "study.json", CONDITIONS), TINY, Quiet()).run()
    assert [x["predicted_ms"] for x in study.models] == [x["predicted_ms"] for x in truth.models]
    assert study.models[0]["error_percent"] == pytest.approx(-66.7, abs=0.1)


def test_an_interrupted_study_goes_on_where_it_was(machine, tmp_path):
    runs, _ = machine
    study = Study(tmp_path / "study.json", CONDITIONS)
    Session(study, TINY, Quiet()).run()
    fp32, int8 = ([f"full model {precision} {copy}" for copy in range(3)] for precision in ("fp32", "int8"))
    assert runs == [[*fp32, *int8], [*fp32, "0", "4"], [*int8, "1", "5"]]
    study.models = [model for model in study.models if model["number"] != 5]
    study.save()
    again = Study(study.path, CONDITIONS)
    Session(again, TINY, Quiet()).run()
    assert runs[3:] == [[*int8, "5"]]
    assert again.result == Study(study.path, CONDITIONS).result


def test_models_whose_runtime_is_missing_are_left_out_and_said(machine, tmp_path):
    study, progress = Study(tmp_path / "study.json", CONDITIONS), Quiet()
    Session(study, TINY, progress).run()
    assert {model["pattern"] for model in study.models} == {"dense"}
    assert len(progress.said) == 4
    assert "onnxruntime-cpu+sparse is not there" in progress.said[0]


def test_a_finished_group_is_not_touched_again(machine, tmp_path, monkeypatch):
    runs, _ = machine
    dense = [model for model in held_out(TINY) if not model.sparsity]
    monkeypatch.setattr(session, "held_out", lambda group, seed: dense)
    study = Study(tmp_path / "study.json", CONDITIONS)
    suite.run(study, [TINY], Console(quiet=True), "fast")
    assert len(runs) == 3
    suite.run(study, [TINY], Console(quiet=True), "fast")
    assert len(runs) == 3
