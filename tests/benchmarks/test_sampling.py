"""measure on real tiny models: processes, rounds, labels, errors."""

from collections import Counter

import numpy as np
import pytest
from tiny_onnx import write_embedding, write_mlp

from benchmarks import Budget, Contestant, Lengths, Measurement, TrimfitError, Workload, compare, measure

QUICK = Budget(launches=2, min_launches=2, rounds=3, max_seconds=1.0, precision=10)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    small, large = write_mlp(folder / "small.onnx"), write_mlp(folder / "large.onnx", layers=30)
    contestants = [Contestant(name="large", model=large), Contestant(name="small", model=small)]
    shares: list[float] = []
    return measure(contestants, budget=QUICK, seed=3, progress=shares.append), shares


def test_contestants_come_back_in_the_order_given(pair):
    assert [m.subject.name for m in pair[0]] == ["large", "small"]


def test_every_launch_and_round_has_every_contestant(pair):
    rounds = [set(m.round_medians(undisturbed=False)) for m in pair[0]]
    assert rounds[0] == rounds[1]
    assert {launch for launch, _ in rounds[0]} == {0, 1}


def test_first_calls_warm_ups_settling_and_timed_calls_are_told_apart(pair):
    for m in pair[0]:
        kinds = Counter(m.samples.kind)
        assert kinds["first"] == 2
        assert kinds["warmup"] >= 6
        assert kinds["settle"] > 0
        assert kinds["timed"] >= 6


def test_a_measurement_says_what_was_timed_and_where(pair):
    m = pair[0][0]
    assert len(m.subject.sha256) == 64
    assert m.subject.file_bytes > 0
    assert m.environment.packages["onnxruntime"]
    assert m.environment.after is not None
    assert all(launch.peak_memory_bytes > launch.memory_before_bytes > 0 for launch in m.launches)


def test_contestants_of_one_run_are_compared_in_pairs(pair):
    comparison = compare(*pair[0])
    assert comparison.interleaved
    assert comparison.speedup > 1


def test_progress_rises_to_its_end(pair):
    shares = pair[1]
    assert shares == sorted(shares)
    assert 0 < shares[-1] <= 1


def test_a_real_measurement_survives_json(pair, tmp_path):
    assert Measurement.from_json(pair[0][0].to_json(tmp_path / "m.json")) == pair[0][0]


def test_inputs_come_from_the_file(tmp_path):
    model = write_embedding(tmp_path / "m.onnx")
    ids = np.ones((3, 2, 4), np.int64)
    np.savez(tmp_path / "pool.npz", input_ids=ids, attention_mask=ids, token_type_ids=ids)
    contestant = Contestant(name="a", model=model, inputs=tmp_path / "pool.npz", workload=Workload(batch=2, seq_len=4))
    (m,) = measure([contestant], budget=QUICK)
    assert len(m.subject.inputs_sha256) == 64


def test_a_broken_model_is_one_line_that_names_it(tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"not a model")
    with pytest.raises(TrimfitError, match="expected an ONNX file") as caught:
        measure([Contestant(name="broken", model=tmp_path / "broken.onnx")], budget=QUICK)
    assert "\n" not in str(caught.value)


def test_a_model_the_runtime_cannot_run_is_one_line_that_names_it(tmp_path):
    model = write_embedding(tmp_path / "m.onnx", vocabulary=2)
    ids = np.full((1, 1, 4), 7, np.int64)
    np.savez(tmp_path / "pool.npz", input_ids=ids, attention_mask=ids)
    contestant = Contestant(name="a", model=model, inputs=tmp_path / "pool.npz", workload=Workload(seq_len=4))
    with pytest.raises(TrimfitError, match=r"for a \(m.onnx\)") as caught:
        measure([contestant], budget=QUICK)
    assert "\n" not in str(caught.value)


def test_a_missing_model_is_named(tmp_path):
    with pytest.raises(TrimfitError, match="no such file"):
        measure([Contestant(name="a", model=tmp_path / "none.onnx")])


def test_nothing_to_measure_is_refused():
    with pytest.raises(TrimfitError, match="no contestants"):
        measure([])


def test_two_of_one_name_are_refused(mlp):
    with pytest.raises(TrimfitError, match="different names"):
        measure([Contestant(name="a", model=mlp), Contestant(name="a", model=mlp)])


MIX = Workload.over(Lengths(points=((3, 0.75), (40, 0.25)), shortest=2, longest=60))


def test_every_length_of_a_mix_has_its_turn_in_every_round(tmp_path):
    small, large = write_mlp(tmp_path / "small.onnx"), write_mlp(tmp_path / "large.onnx", layers=30)
    contestants = [Contestant(name=path.stem, model=path, workload=MIX) for path in (large, small)]
    both = measure(contestants, budget=QUICK)
    for m in both:
        rounds = [set(part.round_medians(undisturbed=False)) for part, _ in m.parts]
        assert rounds[0] == rounds[1] != set()
        assert all(part.samples.kind.count("warmup") >= 3 * len(m.launches) for part, _ in m.parts)
        assert m.samples.kind.count("first") == len(m.launches)
    assert compare(*both).speedup > 1


def test_a_call_of_a_mix_takes_a_row_of_its_length(tmp_path):
    """A model that is told its rows' length by their values: the loader refuses a row of another length."""
    loader = tmp_path / "loader.py"
    loader.write_text(
        "import time\n"
        "def load(job):\n"
        "    def run(feed):\n"
        "        time.sleep(0.001)\n"
        "        assert feed['x'].shape == (1, int(feed['x'][0, 0])), feed\n"
        "    return run\n"
    )
    model = tmp_path / "model.bin"
    model.write_bytes(b"")
    np.savez(tmp_path / "pool.npz", **{f"{n}/x": np.full((5, 1, n), n) for n in (3, 40)})
    contestant = Contestant(name="a", model=model, loader=loader, workload=MIX, inputs=tmp_path / "pool.npz")
    (m,) = measure([contestant], budget=QUICK)
    assert set(m.samples.seq_len) == {3, 40}
