"""Load models and time them on command, by json lines on stdin and stdout.

Run by path, not as part of the package, so that it works in any virtual environment, and on any device, that has numpy
and a runtime. What it is started with is its job:

- {"model": ...}: one model. Commands: {"load": {"cpus": [0]}}, {"warm": {...}}, {"turn": {"settle": 1, "timed": 3}},
  {"outputs": {"path": "x.npz"}}, {"end": {}}. A job with "lengths" has a pool of inputs for each; "at": 9 in a command
  says which one calls draw from, the first one unless said.
- {"rig": {}}: many graphs that are timed in turns. Commands: {"open": {"name": ..., "model": ..., "feed": ...}},
  {"time": {"seconds": 3.0, "rounds": 8, "seed": 0}}, {"end": {}}.
- {"describe": {}}: no commands; answers what this machine has to offer, and ends.

A "loader" is a Python file whose `load(job)` gives what is called with a feed. That may know more of itself: `wake()`
is called before calls that follow an idle time, `ready()` before every call, both off the clock; `device_seconds` is
what the last call took on a device of its own, and `facts()` is told at the end.

Every answer is {"ok": {...}} or {"error": "one line"}; the first one of a process says its "worker" version. Times are
seconds.
"""

from __future__ import annotations

import gc
import hashlib
import json
import math
import os
import platform
import random
import runpy
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import numpy as np

try:
    import resource
except ImportError:  # Windows has none: preemptions and peak memory stay unknown there
    resource = None  # type: ignore[assignment]

__all__ = [
    "Job",
    "Stopwatch",
    "Turn",
    "come_to_rest",
    "describe",
    "load_onnxruntime",
    "not_a_device",
    "open_session",
    "plan_turn",
    "serve",
    "serve_rig",
    "time_in_turns",
    "version",
    "warm_up",
]

Feed = dict[str, np.ndarray]
Run = Callable[[Feed], Any]
Call = Callable[[], Any]
Job = dict[str, Any]
Answer = dict[str, Any]
Row = tuple[float, float, int, float | None]

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

TURN_SECONDS = 0.015  # timed calls of one turn: short, so that contestants see the same moments
SETTLE_AFTER_REST = 0.008  # the same for threads that slept meanwhile
SETTLE_SECONDS = 0.001  # calls that bring the caches back after another contestant ran; slow calls need none
SLOW_SECONDS = 0.02
WARMUP_CALLS = 3
WARMUP_SHARE = 0.25  # of a call's part of the time limit
SHORT_TURN_SECONDS = 0.004  # within one process: nothing but caches has to come back
TURN_BEFORE_REST = 0.012  # where threads come to rest after it, which takes longer than the turn
MIN_ROUNDS = 3
CHECK_EVERY = 8  # rounds between looks at the precision

LEAST_FLOPS_A_BYTE = 0.1  # of a matrix product over a copy: 4.2 on x86, 0.016 under qemu, whose floats are software
MIDR = "/sys/devices/system/cpu/cpu0/regs/identification/midr_el1"


class Turn(NamedTuple):
    """Calls of one contestant in one round."""

    settle: int
    timed: int
    call_seconds: float = 0.0

    @property
    def seconds(self) -> float:
        """How long the turn takes."""
        return (self.settle + self.timed) * self.call_seconds


def plan_turn(call_seconds: float, *, threads: int = 1, turn_seconds: float = TURN_SECONDS) -> Turn:
    """How many calls of `call_seconds` make a turn: about 15 ms of timed ones after 1 ms of settling, or 8."""
    timed = max(1, math.ceil(turn_seconds / call_seconds - 1e-9)) if call_seconds > 0 else 1000
    settling = SETTLE_AFTER_REST if threads > 1 else SETTLE_SECONDS
    settle = 0 if call_seconds >= SLOW_SECONDS else max(1, math.ceil(settling / max(call_seconds, 1e-6)))
    return Turn(settle, min(timed, 1000), call_seconds)


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
        self.ready: Call = getattr(run, "ready", _go_on)

    def call(self) -> Row:
        """One inference on a random row of the pool: (seconds, cpu_seconds, preemptions, seconds on a device)."""
        feed = self.random.choice(self.feeds)
        self.ready()
        switches, cpu = preemptions(), time.process_time()
        start = self.clock()
        self.run(feed)
        seconds = self.clock() - start
        cpu, switches = time.process_time() - cpu, preemptions() - switches
        return seconds, cpu, switches, getattr(self.run, "device_seconds", None)

    def calls(self, count: int) -> dict[str, list[Any]]:
        """`count` inferences, as columns."""
        rows = [self.call() for _ in range(count)]
        return columns(rows)


def columns(rows: list[Row]) -> dict[str, list[Any]]:
    """Rows of (seconds, cpu_seconds, preemptions) as named columns, rounded to nanoseconds.

    The seconds on a device are a column too where they are known.
    """
    found: dict[str, list[Any]] = {
        "seconds": [round(row[0], 9) for row in rows],
        "cpu_seconds": [round(row[1], 9) for row in rows],
        "preemptions": [row[2] for row in rows],
    }
    on_device = [row[3] for row in rows if row[3] is not None]
    return {**found, "device_seconds": [round(seconds, 9) for seconds in on_device]} if on_device else found


def warm_up(watch: Stopwatch, calls: int, seconds: float) -> dict[str, list[Any]]:
    """Call until `calls` and `seconds` are reached and calls no longer get faster; give up at 1 s."""
    getattr(watch.run, "wake", _go_on)()
    rows: list[Row] = []
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


def time_in_turns(
    calls: dict[str, Call],
    *,
    seconds: float,
    rounds: int,
    seed: int,
    threads: int = 1,
    clock: Callable[[], float] = time.perf_counter,
    enough: Callable[[dict[str, list[float]]], bool] = lambda found: False,
) -> dict[str, list[float]]:
    """Time the calls in rounds of random order, garbage collection off, after each has settled.

    `seconds` is for all of them, warm-up included; at least 3 rounds are made, at most `rounds`, fewer when `enough`
    says so of what is known. `threads` are those of a call: more than one come to rest after each turn. Returns the
    seconds per call of each round: the median of its turn's calls, of those that no other process interrupted where
    there are such.
    """
    start = clock()
    rng = np.random.default_rng(seed)
    found: dict[str, list[float]] = {name: [] for name in calls}
    rest: Call = come_to_rest if threads > 1 else _go_on
    turns = {}
    with _no_garbage_collection():
        share = WARMUP_SHARE * seconds / len(calls)
        for name, call in calls.items():
            turns[name] = _planned(call, share, threads, clock)
            rest()
        round_start = clock()
        for number in range(1, rounds + 1):
            for i in rng.permutation(len(calls)):
                name = list(calls)[i]
                found[name].append(_turn(calls[name], turns[name], clock))
                rest()
            now = clock()
            if number >= MIN_ROUNDS and now - start + (now - round_start) / number > seconds:
                break
            if number % CHECK_EVERY == 0 and enough(found):
                break
    return found


def _planned(call: Call, limit: float, threads: int, clock: Callable[[], float]) -> Turn:
    """Call until settled or out of time; the turn to make from then on."""
    seconds: list[float] = []
    while len(seconds) < WARMUP_CALLS or not settled(seconds):
        if len(seconds) >= 2 and sum(seconds) > limit:
            break
        start = clock()
        call()
        seconds.append(clock() - start)
    length = min(TURN_BEFORE_REST if threads > 1 else SHORT_TURN_SECONDS, max(limit / 4, 1e-4))
    return plan_turn(float(np.median(seconds[-WARMUP_CALLS:])), threads=threads, turn_seconds=length)


def _turn(call: Call, turn: Turn, clock: Callable[[], float]) -> float:
    for _ in range(turn.settle):
        call()
    seconds, peaceful = [], []
    for _ in range(turn.timed):
        switches = preemptions()
        start = clock()
        call()
        seconds.append(clock() - start)
        peaceful.append(preemptions() == switches)
    undisturbed = [value for value, kept in zip(seconds, peaceful, strict=True) if kept]
    return float(np.median(undisturbed or seconds))


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


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


def version() -> str:
    """What this very file is, in 16 hex digits: whoever started it knows whether it is the one that was meant."""
    with open(__file__, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()[:16]


def ready() -> Answer:
    """The first answer of a process."""
    return {"pid": os.getpid(), "worker": version()}


def serve(job: Job, commands: Iterable[str]) -> Iterator[Answer]:
    """Answer each command line with a dictionary; the first answer says that the runtime is imported."""
    load: Callable[[Job], Run] = load_onnxruntime
    if job.get("loader"):
        load = runpy.run_path(job["loader"])["load"]
    else:
        import onnxruntime  # noqa: F401  (its import is paid before the clock of "load" starts)
    yield ready()
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
            known: Answer = getattr(watch.run, "facts", dict)()
            yield {"peak_memory_bytes": peak_memory_bytes(), "cpu_seconds": round(time.process_time(), 3), **known}
            return


def _go_on() -> None:
    """A single thread leaves nothing running."""


def _load(job: Job, load: Callable[[Job], Run], cpus: list[int]) -> tuple[dict[int | None, Stopwatch], dict[str, Any]]:
    """The model behind a stopwatch for each length of its inputs (None: for its only one), and how loading went."""
    _pin(cpus)
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


def _pin(cpus: list[int]) -> None:
    """Threads that are started from now on stay there too."""
    if cpus and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cpus)


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


def serve_rig(commands: Iterable[str]) -> Iterator[Answer]:
    """Hold the sessions of many graphs, each with one input, and time them in turns on command.

    Files that are named in "remove" were of graphs before: they are not needed any more.
    """
    import onnxruntime  # noqa: F401  (an interpreter without it says so at once)

    yield ready()
    calls: dict[str, Call] = {}
    threads = 1
    for line in commands:
        ((name, told),) = json.loads(line).items()
        if name == "open":
            _pin(told["cpus"])
            asked = {key: told[key] for key in ("model", "options", "threads")}
            if told.get("loader"):
                calls[told["name"]] = partial(runpy.run_path(told["loader"])["load"](asked), read_feed(told["feed"]))
            else:
                session = open_session(asked)
                calls[told["name"]] = partial(session.run, None, read_feed(told["feed"]))
            threads = max(threads, told["threads"])
            for path in told["remove"]:
                os.unlink(path)
            yield {}
        elif name == "time":
            _pin(told["cpus"])
            asked = {key: told[key] for key in ("seconds", "rounds", "seed")}
            yield {"rounds": time_in_turns(calls, threads=threads, **asked)}
        else:
            yield {"peak_memory_bytes": peak_memory_bytes(), "cpu_seconds": round(time.process_time(), 3)}
            return


def read_feed(path: str) -> Feed:
    """The arrays of an .npz by name."""
    with np.load(path, allow_pickle=False) as arrays:
        return {name: np.ascontiguousarray(arrays[name]) for name in arrays.files}


def describe() -> Answer:
    """What this machine has to offer, and why it is no device where it is none."""
    import onnxruntime

    gflops, gigabytes = _product_rate(), _copy_rate()
    machine = platform.machine()
    return {
        **ready(),
        "system": "Android" if hasattr(sys, "getandroidapilevel") else platform.system(),
        "release": platform.release(),
        "machine": machine,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "onnxruntime": onnxruntime.__version__,
        "mnn": _installed("MNN"),
        "providers": onnxruntime.get_available_providers(),
        "affinity": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [],
        "cpuinfo": _text("/proc/cpuinfo"),
        "page_bytes": os.sysconf("SC_PAGE_SIZE"),
        "free_bytes": shutil.disk_usage(".").free,
        "gflops": round(gflops, 3),
        "gigabytes_per_second": round(gigabytes, 3),
        "not_a_device": not_a_device(machine, os.path.exists(MIDR), gflops, gigabytes),
    }


def _installed(package: str) -> str | None:
    """The version of a package; None where it is not there."""
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _text(path: str) -> str:
    """A file's text; empty where there is none."""
    try:
        with open(path, errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def not_a_device(machine: str, has_midr: bool, gflops: float, gigabytes_per_second: float) -> str | None:
    """Why a machine is taken for an emulator, whose times mean nothing; None where nothing speaks for it.

    Emulators of user programs (qemu-user) have no identification register, and compute floats in software while they
    copy at the speed of the machine below.
    """
    if machine in ("aarch64", "arm64") and not has_midr:
        return f"an {machine} machine without MIDR ({MIDR} is missing)"
    ratio = gflops / gigabytes_per_second
    if ratio < LEAST_FLOPS_A_BYTE:
        return f"{ratio:.3f} GFLOP/s of a matrix product for each GB/s of a copy (a device has {LEAST_FLOPS_A_BYTE}+)"
    return None


def _product_rate() -> float:
    """GFLOP/s of a float32 product of 192 x 192 matrices in numpy."""
    size = 192
    rng = np.random.default_rng(0)
    left, right = (rng.random((size, size), dtype=np.float32) for _ in range(2))
    return 2e-9 * size**3 / _fastest(partial(np.dot, left, right))


def _copy_rate() -> float:
    """GB/s of a copy of 4 MB, each byte read and written."""
    source = np.ones(4 << 20, np.uint8)
    return 2e-9 * source.nbytes / _fastest(partial(np.copyto, np.empty_like(source), source))


def _fastest(call: Call, times: int = 5, long_enough: float = 0.1) -> float:
    """Seconds of the fastest of some calls, so many that one of them is left in peace on a busy machine."""
    seconds: list[float] = []
    while len(seconds) <= times or sum(seconds) < long_enough:
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def answers(job: Job, commands: Iterable[str]) -> Iterator[Answer]:
    """The answers to a job of any kind."""
    if "describe" in job:
        return iter([describe()])
    return serve_rig(commands) if "rig" in job else serve(job, commands)


def main() -> None:
    """Talk on a private copy of stdout: what a runtime prints goes to stderr."""
    reply = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    try:
        for answer in answers(json.loads(sys.argv[1]), sys.stdin):
            reply.write(json.dumps({"ok": answer}) + "\n")
    except Exception as error:  # noqa: BLE001  (whatever a runtime raises becomes one line for the parent to report)
        lines = str(error).strip().splitlines() or [""]
        reply.write(json.dumps({"error": f"{type(error).__name__}: {lines[0]}"}) + "\n")


if __name__ == "__main__":
    main()
