"""benchmark_files on tiny models: one value that holds everything, as table, plot and JSON."""

import io
import json

import pytest
from rich.console import Console
from tiny_onnx import write_mlp

from benchmarks import BenchmarkResult, Budget, TrimfitError, Workload, benchmark_files
from benchmarks.benchmark import _names, throughput_workloads
from benchmarks.form import Form
from benchmarks.plot import distributions, write_plot
from benchmarks.table import render

QUICK = Budget(launches=2, min_launches=2, rounds=4, max_seconds=1.0, precision=10)


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    paths = [write_mlp(folder / "teacher.onnx", layers=40), write_mlp(folder / "student.onnx")]
    return benchmark_files(paths, Workload(seq_len=32), budget=QUICK)


def shown(renderable) -> str:
    text = io.StringIO()
    Console(width=200, file=text).print(renderable)
    return text.getvalue()


def test_every_file_has_a_row(result):
    assert [row.file.name for row in result.rows] == ["teacher", "student"]


def test_the_first_file_is_the_baseline(result):
    assert result.rows[0].comparison is None
    assert result.rows[1].comparison.baseline == "teacher"
    assert result.rows[1].comparison.speedup > 1


def test_latency_is_judged_against_the_machine(result):
    row = result.rows[0]
    assert row.gflops == pytest.approx(40 * 2 * 32 * 64 / row.measurement.median / 1e9)
    assert row.peak_share == row.gflops / result.peaks[0].gflops


def test_the_table_stands_under_its_conditions(result):
    text = shown(render(result))
    assert text.startswith("batch 1, 32 tokens, 1 thread on ")
    assert "taking turns" in text.splitlines()[0]
    assert "against teacher" in text
    assert result.comparisons[0].sentence in text


def test_unknown_energy_says_why(result):
    if all(energy.joules is None for energy in result.energy):
        assert "energy unknown: " in shown(render(result))


def test_json_brings_back_an_equal_result(result, tmp_path):
    path = result.to_json(tmp_path / "result.json")
    again = BenchmarkResult.from_json(path)
    assert again == result
    assert shown(render(again)) == shown(render(result))


def test_a_broken_result_is_refused_with_the_field(result, tmp_path):
    path = result.to_json(tmp_path / "result.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"files": 3}))
    with pytest.raises(TrimfitError, match="files"):
        BenchmarkResult.from_json(path)
    with pytest.raises(TrimfitError, match="expected a benchmark's JSON"):
        BenchmarkResult.from_json(tmp_path / "none.json")


def test_the_plot_shows_every_counted_call(result):
    figure = distributions(result)
    assert sum(len(trace.x) for trace in figure.data if trace.type == "scatter") == sum(
        m.seconds.size for m in result.measurements
    )


def test_the_plot_opens_offline(result, tmp_path):
    html = write_plot(result, tmp_path / "plot.html").read_text()
    assert "<script src=" not in html
    assert "teacher" in html


def test_throughput_is_measured_at_several_batches_and_threads(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.benchmark.THROUGHPUT_BATCHES", (1, 4))
    monkeypatch.setattr("benchmarks.benchmark.THROUGHPUT_BUDGET", QUICK)
    monkeypatch.setattr("benchmarks.benchmark.throughput_workloads", lambda w, c: throughput_workloads(w, 1))
    shares: list[float] = []
    model = write_mlp(tmp_path / "m.onnx")
    result = benchmark_files([model], budget=QUICK, throughput=True, progress=shares.append)
    assert {(point.batch, point.threads) for point in result.throughput} == {(1, 1), (4, 1)}
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert "batch 4, 1 thread" in shown(render(result))


def test_throughput_covers_one_thread_and_all_cores():
    settings = {(w.batch, w.threads) for w in throughput_workloads(Workload(batch=2), cores=4)}
    assert settings == {(batch, threads) for batch in (1, 2, 8, 32) for threads in (1, 4)}


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a.onnx", "b.onnx"], ["a", "b"]),
        (["/x/one/model.onnx", "/x/two/model.onnx"], ["one/model", "two/model"]),
        (["a.onnx", "a.onnx"], ["a (1)", "a (2)"]),
    ],
)
def test_files_are_named_so_that_they_can_be_told_apart(paths, names):
    assert _names(paths) == names


def test_no_files_are_refused():
    with pytest.raises(TrimfitError, match="no files"):
        benchmark_files([])


@pytest.fixture
def reversed_form(tmp_path):
    """A runtime whose files are the model's bytes from the last to the first."""
    loader = tmp_path / "loader.py"
    loader.write_text(
        "import sys\n"
        "def load(job):\n"
        "    with open(job['model'], 'rb') as file:\n"
        "        content = file.read()[::-1]\n"
        "    open(job['model'] + '.onnx', 'wb').write(content)\n"
        "    return sys.modules['__main__'].load_onnxruntime({**job, 'model': job['model'] + '.onnx', 'options': {}})\n"
    )
    seen = []

    def make(model, target, rows):
        seen.extend(rows)
        path = target.with_suffix(".xnno")
        path.write_bytes(model.read_bytes()[::-1])
        return path

    return Form("backwards", "int8", {"speed": 2}, loader, make), seen


def test_a_file_is_timed_in_several_forms_in_turns(tmp_path, reversed_form):
    form, rows = reversed_form
    path = write_mlp(tmp_path / "model.onnx")
    found = benchmark_files([path], Workload(seq_len=32), forms=[Form(), form], budget=QUICK)
    plain, other = found.rows
    assert [plain.file.name, other.file.name] == ["model onnxruntime-cpu", "model backwards int8"]
    assert other.measurement.subject.runtime == "backwards"
    assert other.measurement.subject.options == {"speed": 2}
    assert (plain.file.precision, other.file.precision) == ("fp32", "int8")
    assert (other.file.bytes, other.file.path) == (plain.file.bytes, str(path))
    assert other.file.sha256 == other.measurement.subject.sha256 != plain.file.sha256
    assert other.file.parameters == plain.file.parameters
    assert rows
    assert all(values.shape[0] == 1 for row in rows for values in row.values())
    assert "onnxruntime-cpu" in found.conditions
    assert "backwards" in found.conditions


def test_inputs_are_those_of_the_onnx_file_a_form_was_made_of(tmp_path, reversed_form):
    form, _ = reversed_form
    path = write_mlp(tmp_path / "model.onnx")
    with pytest.raises(TrimfitError, match=r"expected an \.npz file"):
        benchmark_files([path], Workload(seq_len=32), forms=[form], budget=QUICK, inputs=path)
