"""Load one model and time it on command, by json lines on stdin and stdout.

Run by path, not as part of the package, so that it works in any virtual environment that has numpy and a
runtime.
Commands: {"load": {"cpus": [0]}}, {"warm": {...}}, {"turn": {"settle": 1, "timed": 3}},
{"outputs": {"path": "x.npz"}}, {"end": {}}. A job with "lengths" has a pool of inputs for each; "at": 9 in a
command says which one calls draw from, the first one unless said. Every
answer is {"ok": {...}} or {"error": "one line"}. Times are seconds.
"""

from __future__ import annotations

import gc
import json
import os
import random
import runpy
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

try:
    import resource
except ImportError:  # Windows has none: preemptions and peak memory stay unknown there
    resource = None  # type: ignore[assignment]

__all__ = ["Job", "Stopwatch", "come_to_rest", "load_onnxruntime", "open_session", "serve", "warm_up"]

Feed = dict[str, np.ndarray]
Run = Callable[[Feed], Any]
Job = dict[str, Any]

OPTIONS = (
    "disabled_optimizers",
    "graph_optimization_level",
    "config",
    "custom_op_library",
    "break_even",  # of layers, for whoever prepares the model
    "providers",
    "ep",
)
SETTLED = 0.02  # the later calls of a warm-up are at most this share faster than the earlier ones
LONGEST_REST = 0.3  # seconds; OpenMP's threads look for work for 0.2 s, onnxruntime's for about 0.03 s
LOOK_SECONDS = 0.001
LONGEST_WARMUP = 1.0  # seconds, after which a call that never settles is timed all the same


class Stopwatch:
    """Times calls one by one: seconds, CPU seconds of the process, how often it was preempted meanwhile."""

    def __init__(
        self,
        run: Run,
        feeds: list[Feed],
        seed: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.run, self.feeds, self.clock = run, feeds, clock
        self.random = random.Random(seed)

    def call(self) -> tuple[float, float, int]:
        """One inference on a random row of the pool: (seconds, cpu_seconds, preemptions)."""
        feed = self.random.choice(self.feeds)
        switches, cpu = preemptions(), time.process_time()
        start = self.clock()
        self.run(feed)
        seconds = self.clock() - start
        return seconds, time.process_time() - cpu, preemptions() - switches

    def calls(self, count: int) -> dict[str, list[Any]]:
        """`count` inferences, as columns."""
        rows = [self.call() for _ in range(count)]
        return columns(rows)


def columns(rows: list[tuple[float, float, int]]) -> dict[str, list[Any]]:
    """Rows of (seconds, cpu_seconds, preemptions) as named columns, rounded to nanoseconds."""
    return {
        "seconds": [round(row[0], 9) for row in rows],
        "cpu_seconds": [round(row[1], 9) for row in rows],
        "preemptions": [row[2] for row in rows],
    }


def warm_up(watch: Stopwatch, calls: int, seconds: float) -> dict[str, list[Any]]:
    """Call until `calls` and `seconds` are reached and calls no longer get faster; give up at 1 s."""
    rows: list[tuple[float, float, int]] = []
    spent = 0.0
    while spent < LONGEST_WARMUP or len(rows) < 2:
        if len(rows) >= calls and spent >= seconds and settled([row[0] for row in rows]):
            break
        rows.append(watch.call())
        spent += rows[-1][0]
    return columns(rows)


def settled(seconds: list[float]) -> bool:
    """Whether the last third of the calls is no longer clearly faster than the third before it."""
    third = max(1, len(seconds) // 3)
    if len(seconds) < 2:
        return False
    before, after = np.median(seconds[-2 * third : -third]), np.median(seconds[-third:])
    return bool(after >= before * (1 - SETTLED))


def come_to_rest(sleep: Callable[[float], None] = time.sleep) -> None:
    """Wait until no other thread of this process runs, at most 0.3 s.

    After a call the threads of a runtime's pool look for more work for a while, on the cores that whoever is timed next
    needs: two models of two threads that take turns on two cores otherwise take three times as long as each alone.
    """
    for _ in range(round(LONGEST_REST / LOOK_SECONDS)):
        sleep(LOOK_SECONDS)
        if not _others_run():
            return


def _others_run() -> bool:
    """Whether another thread of this process runs; True where the system does not tell, so that all the time passes."""
    me = str(threading.get_native_id())
    try:
        for thread in os.listdir("/proc/self/task"):
            if thread != me:
                with open(f"/proc/self/task/{thread}/stat") as file:
                    if file.read().rpartition(")")[2].split()[0] == "R":
                        return True
    except OSError:  # another system, or a thread that has just ended
        return not os.path.isdir("/proc/self/task")
    return False


def preemptions() -> int:
    """How often the system took the CPU away from this process so far (all its threads)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw if resource else 0


def peak_memory_bytes() -> int | None:
    """The largest resident memory of this process so far."""
    try:
        with open("/proc/self/status") as status:
            return 1024 * next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        pass  # another system: ask the C library
    if resource is None:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


def load_onnxruntime(job: Job) -> Run:
    """A session as a function of a feed."""
    session = open_session(job)
    return lambda feed: session.run(None, feed)


def open_session(job: Job) -> Any:
    """An onnxruntime session on the CPU (or the provider the options name)."""
    import onnxruntime

    options: dict[str, Any] = job["options"]
    if unknown := sorted(set(options) - set(OPTIONS)):
        raise ValueError(f"got runtime option {unknown[0]!r}, expected one of {', '.join(OPTIONS)}")
    session = onnxruntime.InferenceSession(
        job["model"],
        _session_options(onnxruntime, options, job["threads"]),
        disabled_optimizers=options.get("disabled_optimizers") or None,
        **({} if "ep" in options else {"providers": options.get("providers", ["CPUExecutionProvider"])}),
    )
    _check_provider(session, options)
    return session


def _session_options(onnxruntime: Any, options: dict[str, Any], threads: int) -> Any:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 3
    level = options.get("graph_optimization_level", "all")
    name = "ORT_DISABLE_ALL" if level == "none" else f"ORT_ENABLE_{level.upper()}"
    settings.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, name)
    for key, value in options.get("config", {}).items():
        settings.add_session_config_entry(key, str(value))
    if library := options.get("custom_op_library"):
        settings.register_custom_ops_library(str(library))
    if provider := options.get("ep"):
        _add_plugin_provider(onnxruntime, settings, provider, threads)
    return settings


def _add_plugin_provider(onnxruntime: Any, settings: Any, provider: dict[str, Any], threads: int) -> None:
    """A provider that comes as a library of its own: {"name", "library", "device", "options"}.

    "{threads}" in its options becomes their number.
    """
    onnxruntime.register_execution_provider_library(provider["name"], provider["library"])
    kind = provider.get("device", "CPU")
    devices = [
        device
        for device in onnxruntime.get_ep_devices()
        if device.ep_name == provider["name"] and device.device.type.name == kind
    ]
    if not devices:
        raise ValueError(f"{provider['name']} offers no {kind} device on this machine")
    told = {key: value.replace("{threads}", str(threads)) for key, value in provider.get("options", {}).items()}
    settings.add_provider_for_devices(devices[:1], told)


def _check_provider(session: Any, options: dict[str, Any]) -> None:
    """onnxruntime falls back silently to the CPU: what was asked for must really be there."""
    wanted = [options["ep"]["name"]] if "ep" in options else options.get("providers", [])
    for provider in wanted:
        name = provider if isinstance(provider, str) else provider[0]
        if name not in session.get_providers():
            raise ValueError(f"got providers {session.get_providers()}, expected {name}: install its package")


def serve(job: Job, commands: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Answer each command line with a dictionary; the first answer says that the runtime is imported."""
    load: Callable[[Job], Run] = load_onnxruntime
    if job.get("loader"):
        load = runpy.run_path(job["loader"])["load"]
    else:
        import onnxruntime  # noqa: F401  (its import is paid before the clock of "load" starts)
    yield {"pid": os.getpid()}
    rest = come_to_rest if job.get("threads", 1) > 1 else _go_on
    watches: dict[int | None, Stopwatch] = {}
    for line in commands:
        command: dict[str, dict[str, Any]] = json.loads(line)
        if "load" in command:
            watches, answer = _load(job, load, command["load"]["cpus"])
            rest()
            yield answer
            continue
        if not watches:
            raise ValueError("nothing is loaded yet")
        ((name, arguments),) = command.items()
        watch = watches[arguments.pop("at", next(iter(watches)))]
        if name == "warm":
            answer = warm_up(watch, **arguments)
            rest()
            yield answer
        elif name == "turn":
            answer = watch.calls(arguments["settle"] + arguments["timed"])
            rest()
            yield answer
        elif name == "outputs":
            yield save_outputs(watch, arguments["path"])
        else:
            yield {"peak_memory_bytes": peak_memory_bytes()}
            return


def _go_on() -> None:
    """A single thread leaves nothing running."""


def _load(job: Job, load: Callable[[Job], Run], cpus: list[int]) -> tuple[dict[int | None, Stopwatch], dict[str, Any]]:
    """The model behind a stopwatch for each length of its inputs (None: for its only one), and how loading went."""
    if cpus and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cpus)
    empty = peak_memory_bytes()
    feeds = {length: read_pool(job["inputs"], job.get("names"), length) for length in job.get("lengths") or [None]}
    start = time.perf_counter()
    run = load(job)
    seconds = time.perf_counter() - start
    watches = {length: Stopwatch(run, rows, job["seed"]) for length, rows in feeds.items()}
    gc.collect()
    gc.disable()
    first = next(iter(watches.values())).calls(1)
    return watches, {"load_seconds": round(seconds, 9), "memory_before_bytes": empty, "first": first}


def save_outputs(watch: Stopwatch, path: str) -> dict[str, Any]:
    """Write what the model answers to the first row of the pool, by position: output0, output1 ..."""
    outputs = {f"output{i}": np.asarray(output) for i, output in enumerate(watch.run(watch.feeds[0]))}
    np.savez(path, **outputs)  # type: ignore[arg-type]  # the stub takes all keywords for its own
    return {"outputs": len(outputs)}


def read_pool(path: str, names: list[str] | None = None, length: int | None = None) -> list[Feed]:
    """The rows of an .npz of arrays [pool, ...] by input name; only the inputs in `names` if given.

    With a `length`, the names in the file start with it: "9/input_ids".
    """
    start = "" if length is None else f"{length}/"
    with np.load(path, allow_pickle=False) as arrays:
        keys = {key[len(start) :]: key for key in arrays.files if key.startswith(start)}
        wanted = keys if names is None else [name for name in names if name in keys]
        pool = {name: np.ascontiguousarray(arrays[keys[name]]) for name in wanted}
    sizes = {name: len(array) for name, array in pool.items()}
    if len(set(sizes.values())) != 1 or 0 in sizes.values():
        raise ValueError(f"got input pools of {sizes} rows, expected the same number (at least 1) for every input")
    return [{name: array[row] for name, array in pool.items()} for row in range(next(iter(sizes.values())))]


def main() -> None:
    """Talk on a private copy of stdout: what a runtime prints goes to stderr."""
    reply = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    try:
        for answer in serve(json.loads(sys.argv[1]), sys.stdin):
            reply.write(json.dumps({"ok": answer}) + "\n")
    except Exception as error:  # noqa: BLE001  (whatever a runtime raises becomes one line for the parent to report)
        lines = str(error).strip().splitlines() or [""]
        reply.write(json.dumps({"error": f"{type(error).__name__}: {lines[0]}"}) + "\n")


if __name__ == "__main__":
    main()
