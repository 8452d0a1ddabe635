"""The worker's parts in this process with a fake clock, and the conversation with a real one."""

import gc
import json
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import Contestant, TrimfitError
from benchmarks.contestant import Launch
from benchmarks.inputs import model_inputs, random_pool
from benchmarks.worker import __main__ as worker


def watch(clock, durations):
    """A stopwatch whose calls take the given seconds, the last one for ever after."""
    left = list(durations)

    def run(feed):
        clock.advance(left.pop(0) if len(left) > 1 else left[0])

    return worker.Stopwatch(run, [{}], seed=0, clock=clock)


def test_a_call_takes_what_the_clock_says(clock):
    assert watch(clock, [0.25, 0.5]).calls(3)["seconds"] == [0.25, 0.5, 0.5]


def test_a_clock_that_ticks_once_a_reading_gives_one_tick(clock):
    clock.tick = 1.0
    assert watch(clock, [0.0]).calls(2)["seconds"] == [1.0, 1.0]


def test_warm_up_goes_on_until_calls_and_seconds_are_reached(clock):
    assert len(worker.warm_up(watch(clock, [0.25]), calls=3, seconds=0.5)["seconds"]) == 3
    assert len(worker.warm_up(watch(clock, [0.125]), calls=3, seconds=0.5)["seconds"]) == 4


def test_warm_up_goes_on_while_calls_get_faster(clock):
    seconds = worker.warm_up(watch(clock, [0.5, 0.1, 0.05, 0.02, 0.02]), calls=3, seconds=0.05)["seconds"]
    assert seconds[-2:] == [0.02, 0.02]


def test_warm_up_of_a_slow_model_ends_after_two_calls(clock):
    assert worker.warm_up(watch(clock, [3.0]), calls=3, seconds=0.05)["seconds"] == [3.0, 3.0]


def test_warm_up_ends_when_nothing_ever_settles(clock):
    falling = watch(clock, [0.3 * 0.9**i for i in range(50)])
    assert sum(worker.warm_up(falling, calls=3, seconds=0.05)["seconds"]) < 1.3


def test_it_rests_until_no_other_thread_runs(monkeypatch):
    running, naps = iter([True, True, False]), []
    monkeypatch.setattr(worker, "_others_run", lambda: next(running))
    worker.come_to_rest(naps.append)
    assert naps == [worker.LOOK_SECONDS] * 3


def test_it_does_not_wait_for_ever_for_threads_that_never_rest(monkeypatch):
    naps = []
    monkeypatch.setattr(worker, "_others_run", lambda: True)
    worker.come_to_rest(naps.append)
    assert sum(naps) == pytest.approx(worker.LONGEST_REST)


def moments() -> Iterator[None]:
    for _ in range(100):
        yield
        time.sleep(0.01)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are seen in /proc on Linux")
def test_a_pool_that_looks_for_work_is_seen():
    """zlib compresses without Python's lock: that thread runs."""
    data, done = bytes(1 << 26), threading.Event()
    busy = threading.Thread(target=lambda: [zlib.compress(data, 9) for _ in iter(done.is_set, True)])
    assert any(not worker._others_run() for _ in moments())  # another thread of the tests may run now and then
    busy.start()
    time.sleep(0.05)
    try:
        assert any(worker._others_run() for _ in range(100))
    finally:
        done.set()
        busy.join()
    assert any(not worker._others_run() for _ in moments())


def test_calls_take_random_rows_of_the_pool(clock):
    seen = []
    stopwatch = worker.Stopwatch(lambda feed: seen.append(feed["x"][0]), [{"x": np.array([i])} for i in range(4)], 0)
    stopwatch.calls(40)
    assert set(seen) == {0, 1, 2, 3}


def test_a_pool_needs_equally_many_rows_of_every_input(tmp_path):
    np.savez(tmp_path / "pool.npz", a=np.zeros((2, 1)), b=np.zeros((3, 1)))
    with pytest.raises(ValueError, match="same number"):
        worker.read_pool(str(tmp_path / "pool.npz"))


def test_only_the_models_inputs_are_read(tmp_path):
    np.savez(tmp_path / "pool.npz", a=np.zeros((2, 1)), b=np.zeros((2, 1)))
    assert [sorted(feed) for feed in worker.read_pool(str(tmp_path / "pool.npz"), ["b"])] == [["b"], ["b"]]


@pytest.fixture
def pool(mlp, tmp_path):
    path = tmp_path / "pool.npz"
    np.savez(path, **random_pool(mlp, Contestant(name="a", model=mlp).workload))
    return path


@pytest.fixture
def garbage_collection():
    """On again after a worker's work in this process: a worker turns it off for good, as its process ends with it."""
    yield
    gc.enable()


@pytest.mark.usefixtures("garbage_collection")
def test_a_conversation_in_this_process(mlp, pool):
    job = {"model": str(mlp), "options": {}, "threads": 1, "inputs": str(pool), "seed": 0}
    commands = [
        {"load": {"cpus": []}},
        {"warm": {"calls": 3, "seconds": 0}},
        {"turn": {"settle": 1, "timed": 2}},
        {"end": {}},
    ]
    ready, loaded, warm, turn, end = worker.serve(job, map(json.dumps, commands))
    assert ready["pid"]
    assert loaded["load_seconds"] > 0
    assert len(loaded["first"]["seconds"]) == 1
    assert len(warm["seconds"]) >= 3
    assert len(turn["seconds"]) == len(turn["cpu_seconds"]) == len(turn["preemptions"]) == 3
    assert end["peak_memory_bytes"] > 1e6


def test_the_conversation_with_a_process_of_its_own(mlp, pool):
    with Launch(Contestant(name="a", model=mlp), pool, seed=0) as launch:
        assert launch.ready()["pid"] == launch.process.popen.pid
        launch.ask("load", cpus=[])
        assert len(launch.ask("turn", settle=1, timed=4)["seconds"]) == 5
        assert launch.ask("end")["peak_memory_bytes"] > launch.process.popen.pid * 0
    assert launch.process.popen.returncode is not None


OPTIONS = {
    "disabled_optimizers": ["SkipLayerNormFusion"],
    "graph_optimization_level": "basic",
    "config": {"session.intra_op.allow_spinning": "0"},
    "providers": ["CPUExecutionProvider"],
}


def test_the_options_reach_onnxruntime(mlp, pool):
    with Launch(Contestant(name="a", model=mlp, options=OPTIONS), pool, seed=0) as launch:
        launch.ready()
        assert launch.ask("load", cpus=[])["load_seconds"] > 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"turbo": True}, "got runtime option 'turbo', expected one of disabled_optimizers"),
        ({"providers": ["TensorrtExecutionProvider"]}, "TensorrtExecutionProvider"),
        ({"custom_op_library": "/none/lib.so"}, "/none/lib.so"),
    ],
)
def test_an_option_the_runtime_refuses_is_one_line(mlp, pool, options, words):
    with Launch(Contestant(name="a", model=mlp, options=options), pool, seed=0) as launch:
        launch.ready()
        with pytest.raises(TrimfitError, match=words) as caught:
            launch.ask("load", cpus=[])
    assert "\n" not in str(caught.value)


def loader(tmp_path, body):
    path = tmp_path / "loader.py"
    path.write_text(f"import os, sys\ndef load(job):\n    {body}\n")
    return path


def test_another_runtime_is_a_file_with_a_load_function(mlp, pool, tmp_path):
    odd = Contestant(name="a", model=mlp, loader=loader(tmp_path, "print('banner'); return lambda feed: feed"))
    with Launch(odd, pool, seed=0) as launch:
        launch.ready()
        launch.ask("load", cpus=[])
        assert len(launch.ask("turn", settle=0, timed=2)["seconds"]) == 2


def test_environment_variables_reach_the_process_and_are_recorded(mlp, pool, tmp_path):
    body = "assert os.environ['CAP'] == 'avx2' and os.environ['PATH']; return lambda feed: feed"
    capped = Contestant(name="a", model=mlp, loader=loader(tmp_path, body), env={"CAP": "avx2"})
    with Launch(capped, pool, seed=0) as launch:
        launch.ready()
        launch.ask("load", cpus=[])
    assert capped.subject.options == {"env": {"CAP": "avx2"}}


def test_an_operator_library_is_recorded_by_what_it_is_not_where(mlp, tmp_path):
    library = tmp_path / "operators.so"
    library.write_bytes(b"1")
    options = {"custom_op_library": str(library), "config": {"a": "b"}}
    recorded = Contestant(name="a", model=mlp, options=options).subject.options
    assert recorded == {**options, "custom_op_library": f"operators.so sha256:{sha256(b'1').hexdigest()}"}


def test_a_plugin_is_recorded_by_what_it_is_not_where(mlp, tmp_path):
    library = tmp_path / "plugin.so"
    library.write_bytes(b"2")
    options = {"ep": {"name": "X", "library": str(library)}}
    recorded = Contestant(name="a", model=mlp, options=options).subject.options
    assert recorded == {"ep": {"name": "X", "library": f"plugin.so sha256:{sha256(b'2').hexdigest()}"}}
    assert options["ep"]["library"] == str(library)


def test_a_plugin_provider_is_told_the_threads():
    told = {}
    device = SimpleNamespace(ep_name="X", device=SimpleNamespace(type=SimpleNamespace(name="CPU")))
    onnxruntime = SimpleNamespace(
        register_execution_provider_library=lambda name, library: None, get_ep_devices=lambda: [device]
    )
    settings = SimpleNamespace(add_provider_for_devices=lambda devices, options: told.update(options))
    provider = {"name": "X", "library": "x.so", "options": {"load_config": '{"CPU": {"THREADS": "{threads}"}}'}}
    worker._add_plugin_provider(onnxruntime, settings, provider, 3)
    assert told == {"load_config": '{"CPU": {"THREADS": "3"}}'}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("os.kill(os.getpid(), 9)", "died .signal SIGKILL, likely out of memory or time"),
        ("os.kill(os.getpid(), 11)", "died .signal SIGSEGV"),
        (
            "sys.stderr.write('no licence'); sys.stderr.flush(); os._exit(3)",
            "died .exit code 3.; it said: no licence",
        ),
        ("raise ValueError('first line\\nsecond')", "ValueError: first line from"),
    ],
)
def test_a_process_that_dies_says_how_in_one_line(mlp, pool, tmp_path, body, words):
    doomed = Contestant(name="doomed", model=mlp, loader=loader(tmp_path, body))
    with Launch(doomed, pool, seed=0) as launch:
        launch.ready()
        with pytest.raises(TrimfitError, match=words) as caught:
            launch.ask("load", cpus=[])
    assert "doomed" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_interpreter_without_the_runtime_is_one_line(mlp, pool, tmp_path):
    broken = tmp_path / "python"
    broken.write_text(f"#!/bin/sh\nexec {sys.executable} -c 'import nothing_of_that_name'\n")
    broken.chmod(0o755)
    launch = Launch(Contestant(name="a", model=mlp, python=broken), pool, seed=0)
    with launch, pytest.raises(TrimfitError, match="nothing_of_that_name"):
        launch.ready()


@pytest.mark.usefixtures("garbage_collection")
def test_a_job_of_several_lengths_draws_from_the_pool_that_is_named(tmp_path):
    loader = tmp_path / "loader.py"
    loader.write_text("def load(job):\n    return lambda feed: [feed['x']]\n")
    np.savez(tmp_path / "pool.npz", **{f"{n}/x": np.full((2, 1, n), n) for n in (3, 40)})
    job = {"model": "m", "options": {}, "threads": 1, "inputs": str(tmp_path / "pool.npz"), "seed": 0}
    commands = [{"load": {"cpus": []}}, *({"outputs": {"path": str(tmp_path / f"{n}.npz"), "at": n}} for n in (3, 40))]
    list(worker.serve({**job, "loader": str(loader), "lengths": [3, 40]}, map(json.dumps, commands)))
    assert [np.load(tmp_path / f"{n}.npz")["output0"].tolist() for n in (3, 40)] == [[[3] * 3], [[40] * 40]]


def test_its_first_answer_says_which_file_it_is(mlp, pool):
    with Launch(Contestant(name="a", model=mlp), pool, seed=0) as launch:
        assert (
            launch.ready()["worker"] == worker.version() == sha256(Path(worker.__file__).read_bytes()).hexdigest()[:16]
        )


def test_a_worker_of_another_version_is_refused_in_one_line(mlp, pool, monkeypatch):
    monkeypatch.setattr("benchmarks.contestant.version", lambda: "0123456789abcdef")
    refusal = pytest.raises(TrimfitError, match=r"got worker \w{16} on local, expected 0123456789abcdef")
    with Launch(Contestant(name="a", model=mlp), pool, seed=0) as launch, refusal as caught:
        launch.ready()
    assert "\n" not in str(caught.value)


def test_a_rig_holds_graphs_and_times_them_in_turns(mlp, tmp_path):
    (name,) = (entry.name for entry in model_inputs(mlp))
    shape = random_pool(mlp, Contestant(name="a", model=mlp).workload)[name].shape[1:]
    np.savez(tmp_path / "feed.npz", **{name: np.zeros(shape, np.float32)})
    old = tmp_path / "old.onnx"
    old.write_bytes(b"")
    graph = {"model": str(mlp), "options": {}, "threads": 1, "feed": str(tmp_path / "feed.npz"), "cpus": []}
    commands = [
        {"open": {"name": "a", "remove": [], **graph}},
        {"open": {"name": "b", "remove": [str(old)], **graph}},
        {"time": {"seconds": 5.0, "rounds": 4, "seed": 0, "cpus": []}},
        {"end": {}},
    ]
    ready, _, _, timed, end = worker.answers({"rig": {}}, map(json.dumps, commands))
    assert ready["worker"] == worker.version()
    assert {name: len(values) for name, values in timed["rounds"].items()} == {"a": 4, "b": 4}
    assert not old.exists()
    assert end["cpu_seconds"] > 0


def test_a_machine_is_described_with_what_decides_whether_it_is_one():
    (told,) = worker.answers({"describe": {}}, [])
    assert told["machine"]
    assert told["page_bytes"] >= 4096
    assert "CPUExecutionProvider" in told["providers"]
    assert told["gflops"] > 0


@pytest.mark.parametrize(
    ("machine", "midr", "gflops", "words"),
    [
        ("aarch64", True, 20.0, None),
        ("x86_64", False, 20.0, None),
        ("aarch64", False, 20.0, "an aarch64 machine without MIDR"),
        ("aarch64", True, 0.16, "0.016 GFLOP/s of a matrix product for each GB/s of a copy"),
        ("x86_64", False, 0.99, "0.099 GFLOP/s"),
    ],
)
def test_an_emulator_is_told_by_its_floats_and_its_missing_register(machine, midr, gflops, words):
    found = worker.not_a_device(machine, midr, gflops, gigabytes_per_second=10.0)
    assert found is None if words is None else words in found
