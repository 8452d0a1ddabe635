"""Contestants: the whole encoder with every runtime, precision and option at a batch, beside the GPU's peak."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.errors import TrimfitError
from benchmarks.gpu.place import GpuPlace
from benchmarks.suites.gpu.sizes import Sizes
from benchmarks.suites.gpu.timing import cold_ms, joules, seconds_in_turns
from benchmarks.workload import Workload
from hardware_profiles.micro_graph import encoder_graph, random_inputs
from hardware_profiles.runtimes import Runtime, runtimes
from hardware_profiles.work import Work

__all__ = ["Entrant", "entrants", "measure_contestants", "measure_two_of_four"]

Entry = dict[str, Any]


class Entrant(NamedTuple):
    """A runtime with its options; `file` is the precision of the ONNX file, `precision` what floats are computed in."""

    name: str
    runtime: Runtime
    file: str
    precision: str


def entrants(compiled: bool) -> Iterator[Entrant]:
    """All there are on the GPU in force; with `compiled` torch.compile's too, which take half a minute each."""
    for runtime in runtimes():
        if runtime.skips_zeros:
            continue
        for precision in runtime.precisions:
            for option, other in runtime.alternatives(1).items():
                yield Entrant(f"{runtime.name} {precision}, {option}", other.at(precision), precision, precision)
        if runtime.name == "torch-cuda":
            yield from _of_torch(runtime, compiled)


def _of_torch(runtime: Runtime, compiled: bool) -> Iterator[Entrant]:
    """What PyTorch has beyond the precisions and options of a profile; bf16 is computed from the fp32 file."""
    graphs = runtime.with_options({"cuda_graph": True})
    yield Entrant("torch-cuda bf16, CUDA graphs", graphs.at("bf16"), "fp32", "bf16")
    if compiled:
        both = runtime.with_options({"cuda_graph": True, "compile": True})
        for precision in ("fp16", "bf16"):
            file = precision if precision in runtime.precisions else "fp32"
            yield Entrant(f"torch-cuda {precision}, torch.compile and CUDA graphs", both.at(precision), file, precision)


def measure_contestants(sizes: Sizes, batch: int, place: GpuPlace, peaks: Mapping[str, Entry], compiled: bool) -> Entry:
    """Every entrant at a batch: milliseconds, with warm and cold cache, share of the peak, memory, energy, placement.

    One that fails is told with its reason.
    """
    workload = sizes.workload(batch)
    work = Work.of(sizes.whole, workload)
    with tempfile.TemporaryDirectory(prefix="trimfit-") as folder:
        fp32 = encoder_graph(sizes.whole, Path(folder) / "fp32.onnx", seq_len=sizes.seq_len)
        sessions, failed, of = _loaded(entrants(compiled), fp32, Path(folder), workload)
    feed = random_inputs(workload)
    found = seconds_in_turns(sessions, feed, seconds=sizes.seconds)
    done: Entry = {name: {"failed": reason} for name, reason in failed.items()}
    for name, seconds in found.items():
        ms = 1e3 * float(np.median(seconds))
        precision = of[name].precision.replace("bf16", "fp16")  # tensor cores are as fast at both
        peak = peaks.get(f"{of[name].runtime.name} {precision}", {}).get("gflops")
        done[name] = {
            "ms": round(ms, 5),
            "iqr_ms": round(1e3 * float(np.subtract(*np.percentile(seconds, (75, 25)))), 5),
            "cold_cache_ms": round(cold_ms(place, sessions[name], feed), 5),
            "rows_per_second": round(1e3 * batch / ms, 2),
            "gflops": round(1e3 * work.gflop / ms, 1),
            "share_of_peak": round(1e3 * work.gflop / ms / peak, 4) if peak else None,
            "joules": _joules(place, sessions[name], feed, sizes.seconds / 2),
            **sessions[name].facts(),
        }
    return done


def measure_two_of_four(sizes: Sizes, batch: int, compiled: bool) -> Entry:
    """The encoder with 2:4 zeros in fp16, by PyTorch's dense kernels and by those that skip them, in turns."""
    dense = next((runtime for runtime in runtimes() if runtime.name == "torch-cuda"), None)
    sparse = next((runtime for runtime in runtimes() if runtime.skips_zeros), None)
    if dense is None or sparse is None or "fp16" not in dense.precisions:
        raise TrimfitError(
            "got no kernels for 2:4 zeros, expected PyTorch with CUDA and compute capability 8.0: see above"
        )
    ways: dict[str, dict[str, Any]] = {"eager": {}, "CUDA graphs": {"cuda_graph": True}}
    if compiled:
        ways["torch.compile and CUDA graphs"] = {"cuda_graph": True, "compile": True}
    workload = sizes.workload(batch)
    pairs = {
        f"{kind}, {way}": runtime.with_options(options)
        for way, options in ways.items()
        for kind, runtime in (("dense", dense), ("2:4", sparse))
    }
    with tempfile.TemporaryDirectory(prefix="trimfit-") as folder:
        path = Path(folder) / "fp32.onnx"
        fp32 = encoder_graph(sizes.whole, path, pattern="n:m", sparsity=0.5, seq_len=sizes.seq_len)
        asked = (Entrant(name, runtime.at("fp16"), "fp16", "fp16") for name, runtime in pairs.items())
        sessions, failed, _ = _loaded(asked, fp32, Path(folder), workload)
    found = {
        n: 1e3 * float(np.median(s))
        for n, s in seconds_in_turns(sessions, random_inputs(workload), seconds=sizes.seconds).items()
    }
    speedups = {
        way: round(found[f"dense, {way}"] / found[f"2:4, {way}"], 4)
        for way in ways
        if f"dense, {way}" in found and f"2:4, {way}" in found
    }
    layers = {name: session.facts()["nodes"] for name, session in sessions.items() if name.startswith("2:4")}
    return {"ms": {n: round(ms, 5) for n, ms in found.items()}, "speedup": speedups, "layers": layers, "failed": failed}


def _loaded(
    asked: Iterator[Entrant], fp32: Path, folder: Path, workload: Workload
) -> tuple[dict[str, Any], dict[str, str], dict[str, Entrant]]:
    """Sessions that have been called, by name; why others failed; and what each is."""
    sessions, failed, of, files = {}, {}, {}, {"fp32": fp32}
    feed = random_inputs(workload)
    for entrant in asked:
        of[entrant.name] = entrant
        try:
            key = f"{entrant.runtime.name} {entrant.file}" if entrant.file != "fp32" else "fp32"
            if key not in files:
                target = folder / f"{len(files)}.onnx"
                files[key] = entrant.runtime.prepare(fp32, entrant.file, target, calibration=[feed])
            session = entrant.runtime.session(files[key], workload.threads)
            for _ in range(4):
                session.run(None, feed)
            sessions[entrant.name] = session
        except Exception as error:  # noqa: BLE001  (whatever a compiler or a kernel raises is this entrant's result)
            failed[entrant.name] = (str(error).splitlines() or [type(error).__name__])[0]
    return sessions, failed, of


def _joules(place: GpuPlace, session: Any, feed: Mapping[str, np.ndarray], seconds: float) -> float | None:
    try:
        return round(joules(place, session, feed, seconds), 6)
    except TrimfitError:
        return None
