"""Contest: is a precision worth profiling? A whole encoder at it and at the one it has to beat, timed once in turns."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.place import current_place
from hardware_profiles.bench import graph_of, timings, with_room
from hardware_profiles.micro_graph import encoder_graph, random_inputs
from hardware_profiles.profile import LatencyProfile, PrecisionTrial
from hardware_profiles.profile_request import ProfileRequest
from hardware_profiles.runtimes import Runtime

__all__ = ["contest", "missing_contests", "worthwhile"]


def missing_contests(profile: LatencyProfile, request: ProfileRequest) -> list[tuple[str, str]]:
    """(precision, rival) of the contested precisions that were neither asked for nor tried at this workload yet."""
    known = {trial.precision for trial in _mine(profile, request)}
    return [
        (precision, rival)
        for precision, rival in profile.runtime.contested.items()
        if rival in request.precisions and precision not in (*request.precisions, *known)
    ]


def worthwhile(profile: LatencyProfile, request: ProfileRequest) -> tuple[str, ...]:
    """The precisions to profile: those asked for, and the contested ones that won."""
    won = (trial.precision for trial in _mine(profile, request) if trial.pays and trial.rival in request.precisions)
    return tuple(dict.fromkeys((*request.precisions, *won)))


def contest(runtime: Runtime, request: ProfileRequest, precision: str, rival: str, seed: int = 0) -> PrecisionTrial:
    """Time the request's full encoder at both precisions."""
    shape = next(iter(request.anchors(precision).values())).shape
    length, threads = request.workload.seq_len, request.workload.threads
    feed = random_inputs(request.workload, seed)
    with current_place().rig() as rig:
        with tempfile.TemporaryDirectory(prefix="trimfit-") as folder:
            fp32 = Path(folder) / "fp32.onnx"
            encoder_graph(shape, fp32, activation=request.activation, seq_len=length, seed=seed)
            for name in (rival, precision):
                model = runtime.prepare(fp32, name, Path(folder) / f"{name}.onnx", calibration=[feed])
                rig.load(name, graph_of(runtime.at(name), model, feed, threads))
        found = with_room(lambda: timings(rig, request.budget, seed), rig.threads, request.budget)
    return PrecisionTrial(
        precision=precision,
        rival=rival,
        hidden_size=request.hidden_size,
        workload=request.workload,
        seconds=found[precision].seconds,
        rival_seconds=found[rival].seconds,
    )


def _mine(profile: LatencyProfile, request: ProfileRequest) -> list[PrecisionTrial]:
    asked = request.hidden_size, request.workload
    return [trial for trial in profile.contests if (trial.hidden_size, trial.workload) == asked]
