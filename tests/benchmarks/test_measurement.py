"""A measurement is a value: its figures follow from its samples, and it survives a trip through JSON."""

import json

import numpy as np
import pytest
from pydantic import ValidationError

from benchmarks import Measurement, Samples, TrimfitError, Workload
from benchmarks.statistics import early_stopping_rank


def test_figures_are_those_of_the_timed_calls(measurement):
    m = measurement([[0.001, 0.002], [0.003, 0.004]])
    assert m.median == 0.0025
    assert m.median_ms == 2.5
    assert m.iqr == pytest.approx(0.0015)
    assert m.seconds.tolist() == [0.001, 0.002, 0.003, 0.004]


def test_warm_ups_are_kept_and_labelled(measurement):
    m = measurement([[0.001], [0.001]])
    assert m.samples.kind == ("first", "timed", "first", "timed")
    assert m.first_inference_seconds == 1.0
    assert m.load_seconds == 0.5


def test_calls_that_others_interrupted_are_kept_but_do_not_make_the_figures(measurement):
    m = measurement([[0.001] * 9 + [0.009]], interrupted=lambda launch, number: number == 9)
    assert len(m.samples) == 11
    assert m.interrupted_share == 0.1
    assert m.seconds.tolist() == [0.001] * 9


def test_with_too_few_calls_in_peace_all_calls_count(measurement):
    m = measurement([[0.001] * 7 + [0.003] * 8], interrupted=lambda launch, number: number >= 7)
    assert not m.undisturbed
    assert m.seconds.size == 15
    assert m.median == 0.003


def test_a_preempted_call_that_lost_no_time_is_not_interrupted(measurement):
    m = measurement([[0.001, 0.002]])
    quick = m.model_copy(update={"samples": m.samples.model_copy(update={"preemptions": (0, 1, 1)})})
    assert not quick.interrupted.any()


def test_with_several_threads_a_call_on_fewer_cpus_than_the_best_is_interrupted(measurement):
    m = measurement([[0.001] * 4], workload=Workload(threads=2))
    columns = {"cpu_seconds": (1.0, 0.002, 0.0019, 0.001, 0.001), "preemptions": (0, 0, 1, 1, 0)}
    parallel = m.model_copy(update={"samples": m.samples.model_copy(update=columns)})
    assert parallel.interrupted.tolist() == [False, False, False, True, False]


def test_a_percentile_the_sample_cannot_support_is_not_given(measurement):
    values = (np.arange(64) + 1) / 1000
    assert measurement([values[:63].tolist()]).p90_ms is None
    assert measurement([values.tolist()]).p90_ms == 64
    assert measurement([values.tolist()]).p99_ms is None


def test_a_tail_counts_interruptions(measurement):
    m = measurement([[0.001] * 64], interrupted=lambda launch, number: number < 10)
    slow = m.model_copy(update={"samples": m.samples.model_copy(update={"seconds": (1.0, *[0.5] * 10, *[0.001] * 54)})})
    assert slow.p90_ms == 500
    assert slow.median_ms == 1


def test_the_median_is_printed_with_the_digits_its_interval_supports(measurement):
    assert measurement([[0.005, 0.00501], [0.00502, 0.00503], [0.00501, 0.00502]]).median_text == "5.015 ms"
    assert measurement([[0.005, 0.006], [0.007, 0.008], [0.004, 0.005]]).median_text == "5.5 ms"


def test_json_brings_back_an_equal_measurement(measurement, tmp_path):
    m = measurement([[0.001, 0.002], [0.003, 0.004]])
    assert Measurement.from_json(m.to_json(tmp_path / "deep" / "m.json")) == m


def test_a_measurement_cannot_be_changed(measurement):
    m = measurement([[0.001]])
    with pytest.raises(ValidationError):
        m.seed = 5


def test_columns_must_have_one_value_per_call():
    with pytest.raises(ValidationError, match="different lengths"):
        Samples(launch=(0,), seconds=(0.1, 0.2))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": "x"}, "seed"),
        ({"surprise": 1}, "surprise"),
        ({"format": 2}, "format"),
        ({"samples": {"seconds": ["fast"]}}, "samples.seconds.0"),
    ],
)
def test_a_broken_file_is_refused_with_the_field(measurement, tmp_path, change, words):
    path = measurement([[0.001]]).to_json(tmp_path / "m.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(TrimfitError, match=words) as caught:
        Measurement.from_json(path)
    assert "\n" not in str(caught.value)


def test_what_is_emulated_holds_no_time(measurement):
    m = measurement([[0.001]])
    emulated = {**m.model_dump(), "provenance": "emulated_functional"}
    with pytest.raises(ValidationError, match="emulated_functional can hold no time"):
        Measurement.model_validate(emulated)
    with pytest.raises(ValidationError, match="emulated_functional can hold no time"):
        Measurement.model_validate({**emulated, "samples": {}})
    launches = [{"peak_memory_bytes": 1}]
    timeless = {**emulated, "samples": {}, "launches": launches}
    assert len(Measurement.model_validate(timeless).samples) == 0
    worked = {**timeless["environment"], "after": {"unix_seconds": 1.0, "own_seconds": 2.0}}
    with pytest.raises(ValidationError, match="emulated_functional can hold no time"):
        Measurement.model_validate({**timeless, "environment": worked})


def test_a_missing_file_is_refused_in_one_line(tmp_path):
    with pytest.raises(TrimfitError, match="expected a measurement file"):
        Measurement.from_json(tmp_path / "none.json")


def test_figures_of_a_mix_are_those_of_its_lengths_weighted(mix):
    m = mix({10: [[0.001, 0.003], [0.001, 0.003]], 40: [[0.007, 0.009], [0.007, 0.009]]}, (0.75, 0.25))
    assert [(part.subject.workload.seq_len, part.median_ms, share) for part, share in m.parts] == [
        (10, pytest.approx(2), 0.75),
        (40, pytest.approx(8), 0.25),
    ]
    assert m.median_ms == pytest.approx(0.75 * 2 + 0.25 * 8)
    assert m.iqr == pytest.approx(0.002)
    rounds = {0: 0.75 * 0.001 + 0.25 * 0.007, 1: 0.75 * 0.003 + 0.25 * 0.009}
    assert m.round_medians() == {(launch, n): pytest.approx(rounds[n]) for launch in (0, 1) for n in (0, 1)}
    assert m.outliers == 0, "long calls are no outliers among short ones"


def test_a_plain_measurement_is_its_only_part(measurement):
    m = measurement([[0.001]])
    assert m.parts == ((m, 1.0),)
    assert "seq_len" not in json.loads(m.model_dump_json())["samples"]


def test_a_mix_survives_json(mix, tmp_path):
    m = mix({10: [[0.001], [0.002]], 40: [[0.008], [0.009]]}, (0.5, 0.5))
    again = Measurement.from_json(m.to_json(tmp_path / "m.json"))
    assert again == m
    assert again.median == m.median


def test_calls_of_a_mix_are_judged_beside_those_of_their_length(mix):
    values = {10: [[0.001] * 9 + [0.009]], 40: [[0.1] * 10]}
    m = mix(values, (0.5, 0.5), interrupted=lambda launch, number, length: length == 10 and number == 9)
    assert m.interrupted_share == 0.05
    assert m.median == pytest.approx(0.0505)
    assert sorted(set(m.round_medians())) == [(0, number) for number in range(9)]


def test_the_tail_of_a_mix_has_every_length_with_its_share(mix):
    short, long = ((np.arange(400) + 1) / 1000).tolist(), [1.0] * 64
    rank = early_stopping_rank(421, 90)  # 400 short calls are 95 % of 421, of which 21 are long
    assert rank < 400
    assert mix({10: [short], 40: [long]}, (0.95, 0.05)).p90_ms == rank
    assert mix({10: [short], 40: [long]}, (0.5, 0.5)).p90_ms == 1000
    assert mix({10: [short[:20]], 40: [long]}, (0.5, 0.5)).p90_ms is None, "40 in proportion are too few"
