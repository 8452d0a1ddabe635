"""The studies' own logic; they are run by hand."""

import json

import numpy as np
import onnx
import pytest
from rich.console import Console
from tiny_onnx import write_mlp

from benchmarks import Budget, Contestant, TrimfitError, Workload, read_environment
from benchmarks.suites import aa_power, busy_spread
from benchmarks.suites.engines import __main__ as engines
from benchmarks.suites.engines import variants
from benchmarks.suites.engines.engine import ENGINES, Engine
from benchmarks.suites.engines.environments import environment
from benchmarks.suites.known_work import write_chain
from benchmarks.suites.neighbour import Neighbours

WORK = Workload(seq_len=4)


def entry(difference, speedup=0.97, seconds=6.0):
    return {"difference": difference, "speedup": speedup, "low": 0.9, "high": 1.1, "seconds": seconds}


@pytest.fixture
def fast_study(monkeypatch):
    """aa_power whose comparisons cost nothing; counts them."""
    made = []

    def compare(model, other, workload, seed):
        made.append((other.stem, seed))
        return entry(other.stem == "slower")

    monkeypatch.setattr(aa_power, "_compare", compare)
    monkeypatch.setattr(aa_power, "rows_for", lambda path, seconds: 8)
    monkeypatch.setattr(aa_power, "NEIGHBOURS", {"idle": 0, "busy": 0})
    return made


def test_the_study_states_shares_and_seconds_idle_and_busy(fast_study, tmp_path):
    aa_power.main(["--json", str(tmp_path / "aa.json"), "--quick"])
    found = json.loads((tmp_path / "aa.json").read_text())
    for condition in ("idle", "busy"):
        assert found[condition]["false_positive_share"] == 0
        assert found[condition]["power_at_3_percent"] == 1
        assert found[condition]["seconds_per_comparison"] == 6
    assert len(fast_study) == 10


def test_an_interrupted_study_goes_on_where_it_was(fast_study, tmp_path):
    console, path = Console(quiet=True), tmp_path / "aa.json"
    aa_power.run(aa_power.Study(path), {"same": 2, "slower": 1}, ["idle"], console)
    before = len(fast_study)
    aa_power.run(aa_power.Study(path), {"same": 3, "slower": 1}, ["idle"], console)
    assert len(fast_study) == before + 1
    assert fast_study[-1] == ("model", 2)


def test_a_difference_in_the_wrong_direction_is_no_power():
    wrong = {"condition": "idle", "kind": "slower", **entry(True, speedup=1.03)}
    assert aa_power.summary([wrong])["idle"]["power_at_3_percent"] == 0


def test_the_chain_does_its_products(tmp_path):
    graph = onnx.load(str(write_chain(tmp_path / "chain.onnx", products=7, width=4))).graph
    assert [node.op_type for node in graph.node] == ["MatMul"] * 7


def test_neighbours_leave_when_the_block_ends(monkeypatch):
    monkeypatch.setattr("benchmarks.suites.neighbour.START_SECONDS", 0.0)
    with Neighbours(1) as neighbours:
        assert neighbours.processes[0].poll() is None
    assert neighbours.processes[0].returncode is not None


def test_the_spread_is_relative_to_the_median():
    assert busy_spread.spread([4.0, 5.0, 6.0]) == pytest.approx(0.4)


def test_plain_looping_gives_the_mean(mlp):
    assert 0 < busy_spread.plain_mean(Contestant(name="a", model=mlp, workload=WORK), 0.01) < 1


def test_a_fixed_model_has_the_workloads_shapes(mlp, tmp_path):
    model = onnx.load(str(variants.fixed(mlp, tmp_path / "fixed.onnx", WORK, {})))
    assert [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim] == [1, 4, 8]
    assert [dim.dim_value for dim in model.graph.output[0].type.tensor_type.shape.dim] == [1, 4, 8]


def test_zeros_go_to_the_smallest_weights_of_large_matrices(tmp_path):
    chain = write_chain(tmp_path / "chain.onnx", products=1, width=64)
    model = onnx.load(str(variants.with_zeros(chain, tmp_path / "zeros.onnx", 0.75)))
    before, after = (onnx.numpy_helper.to_array(x.graph.initializer[0]) for x in (onnx.load(str(chain)), model))
    assert np.mean(after == 0) == pytest.approx(0.75, abs=0.01)
    assert np.abs(before[after == 0]).max() <= np.abs(after[after != 0]).min()


def test_every_engine_has_a_name_of_its_own_and_a_loader_that_exists():
    assert len({engine.name for engine in ENGINES}) == len(ENGINES)
    assert all((engines.variants and path is None) or path.exists() for path in map(loader, ENGINES))


def loader(engine):
    from benchmarks.suites.engines.engine import LOADERS

    return LOADERS / f"{engine.loader}.py" if engine.loader else None


def test_engines_run_the_same_file_and_their_outputs_are_compared(tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "QUICK", Budget(launches=2, min_launches=2, rounds=2, max_seconds=0.5, precision=9))
    model, result = write_chain(tmp_path / "chain.onnx", products=3, width=64), tmp_path / "engines.json"
    names = ["onnxruntime-fp32", "onnxruntime-int8"]
    engines.main([str(model), "--quick", "--seq-len", "4", "--json", str(result), "--engines", *names])
    found = json.loads(result.read_text())
    assert [m["subject"]["name"] for m in found["measurements"]] == names
    assert found["max_abs_output_difference"]["onnxruntime-fp32"] == 0
    assert 0 < found["max_abs_output_difference"]["onnxruntime-int8"] < 0.2


def test_an_engine_that_refuses_is_listed_with_its_reason(tmp_path):
    def refuse(model, folder, python):
        raise TrimfitError("no such operator")

    model = variants.fixed(write_mlp(tmp_path / "m.onnx"), tmp_path / "fixed.onnx", WORK, {})
    found, _, refused = engines.enter([ENGINES[0], Engine("odd", prepare=refuse)], model, tmp_path, WORK)
    assert [contestant.name for contestant in found] == ["onnxruntime-fp32"]
    assert refused == {"odd": "no such operator"}


def test_an_engine_that_needs_a_python_that_is_not_there_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("TRIMFIT_CACHE", str(tmp_path))
    with pytest.raises(TrimfitError, match=r"got no Python 1\.5"):
        environment("old", ("nothing",), "1.5")


def test_the_environment_of_the_machine_is_stored_with_a_study(fast_study, tmp_path):
    aa_power.main(["--json", str(tmp_path / "aa.json"), "--quick", "--only", "idle"])
    assert json.loads((tmp_path / "aa.json").read_text())["environment"]["cpu"] == read_environment().cpu
