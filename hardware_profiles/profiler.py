"""Profiler: measures what a profile lacks, and keeps it as it goes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.environment import Environment
from benchmarks.errors import DeviceUnreachableError, TrimfitError
from benchmarks.place import current_place
from benchmarks.provenance import EMULATED
from hardware_profiles.bench import Bench
from hardware_profiles.break_even import measure_break_even
from hardware_profiles.conditions import Conditions
from hardware_profiles.contest import contest, missing_contests, worthwhile
from hardware_profiles.device import Device, check_in_force
from hardware_profiles.machine import measure_machine
from hardware_profiles.profile import LatencyProfile, OptionTrial
from hardware_profiles.profile_cache import cache_folder, cached_profile, empty_profile, profile_path
from hardware_profiles.profile_request import ProfileRequest
from hardware_profiles.runtimes import Runtime

__all__ = ["ProfileRequest", "Progress", "run_profile"]

Progress = Callable[[str, float], None]

_CHOOSING = 0.05  # share of the time that choosing options takes
_BREAKING_EVEN = 0.1  # share of a precision's time that finding the break-even points takes
_MACHINE = 0.05  # and what is measured of the machine itself, where that is asked for
_MUST_WIN_BY = 0.01  # an option set replaces the stock one only if it is faster by more than this


def run_profile(
    device: Device,
    runtime: Runtime,
    request: ProfileRequest,
    *,
    cache: Path | None = None,
    progress: Progress | None = None,
    fresh: bool = False,
    seed: int = 0,
) -> LatencyProfile:
    """Measure what the cached profile of this device and runtime lacks for a request, and return all of it.

    A stock `runtime` gets the options that are fastest on the device (`profile.runtime`); one with options of
    its own keeps them. A runtime that skips zeros (`request.sparse`) is first asked from which sparsity on each
    layer gains by it (`profile.break_even`). A contested precision that was not asked for is profiled only where a
    whole encoder is faster at it than at its rival (`profile.contests`). Of a workload of several lengths each is
    measured, as `ProfileRequest.parts` asks. `cache` is a folder (None: `cache_folder()`); the profile is saved there
    after every part of a precision, so that an interrupted run goes on. `progress` is called with a label and the
    share done.
    `fresh` measures again what is known.
    Raises TrimfitError for a precision that the runtime lacks, a device that is not the one in force, and one that is
    emulated, which has no latency.
    """
    check_in_force(device)
    if device.provenance == EMULATED:
        raise TrimfitError(
            f"got {device.name}, which is {EMULATED}, expected a device: an emulator has no latency to profile;"
            " `trimfit benchmark` checks that models run there"
        )
    unknown = [precision for precision in request.precisions if precision not in runtime.precisions]
    if unknown:
        raise TrimfitError(
            f"got precision {unknown[0]!r} for {runtime.name}, expected one of {', '.join(runtime.precisions)}"
        )
    path = profile_path(cache or cache_folder(), device, runtime)
    profile = empty_profile(device, runtime) if fresh else cached_profile(path, device, runtime)
    parts, before = request.parts(), current_place().environment()
    for number, part in enumerate(parts):
        for grown in _stages(profile, runtime, part, _part_of(progress or _silent, number, len(parts)), seed):
            if grown != profile:
                profile = grown.with_conditions(Conditions.now()).with_environments(_environment(before))
            profile.save(path)
    return profile


def _environment(before: Environment) -> Environment:
    """What the machine was like since `before`; the flags of its CPU are the device's already."""
    try:
        machine = current_place().finished(before, worked=None)
    except DeviceUnreachableError:  # what was measured before the link broke is kept all the same
        machine = before
    return machine.model_copy(update={"isa": ()})


def _silent(label: str, share: float) -> None:
    """Report to nobody."""


def _part_of(progress: Progress, number: int, count: int) -> Progress:
    """The same report for one of `count` parts."""
    return lambda label, share: progress(label, (number + share) / count)


def _stages(
    profile: LatencyProfile, runtime: Runtime, request: ProfileRequest, progress: Progress, seed: int
) -> Iterator[LatencyProfile]:
    """The profile after each step; what is known is not measured again."""
    if not profile.trials and not runtime.options():
        progress("choosing the runtime's options", 0.0)
        profile = _with_best_options(profile, runtime, request, seed)
        yield profile
    for precision, rival in missing_contests(profile, request):
        progress(f"is {precision} faster than {rival}", _CHOOSING)
        profile = profile.with_contest(contest(profile.runtime, request, precision, rival, seed))
        yield profile
    precisions, end = worthwhile(profile, request), 1 - _MACHINE * request.asks_for_machine
    for index, precision in enumerate(precisions):

        def report(label: str, share: float, done: int = index) -> None:
            progress(label, _CHOOSING + (end - _CHOOSING) * (done + share) / len(precisions))

        if request.sparse and not request.in_groups:
            report(f"{precision}: where sparse layers break even", 0.0)
            profile = _with_break_even(profile, request, precision, seed)
            yield profile
        runtime_here = profile.runtime_at(request.workload)
        for grown in Bench(runtime_here, request, precision, seed).steps(profile, _after(report, request.sparse)):
            profile = grown
            yield profile
    yield from measure_machine(profile, request, lambda label: progress(label, end), seed)
    progress("profile complete", 1.0)


def _after(report: Progress, breaking_even: bool) -> Progress:
    """The same report for what comes after the break-even points."""
    done = _BREAKING_EVEN if breaking_even else 0.0
    return lambda label, share: report(label, done + (1 - done) * share)


def _with_break_even(profile: LatencyProfile, request: ProfileRequest, precision: str, seed: int) -> LatencyProfile:
    known = {
        (item.out_features, item.in_features)
        for item in profile.break_even
        if (item.workload, item.precision) == (request.workload, precision)
    }
    missing = [shape for shape in request.linears() if shape not in known]
    if not missing:
        return profile
    return profile.with_break_even(measure_break_even(profile.runtime, request, missing, precision, seed))


def _with_best_options(profile: LatencyProfile, runtime: Runtime, request: ProfileRequest, seed: int) -> LatencyProfile:
    """Time a whole encoder under every option set; the best over all precisions is kept."""
    alternatives = runtime.alternatives(request.workload.threads)
    trials = []
    for precision in request.precisions:
        bench = Bench(runtime, request, precision, seed)
        trials += [
            OptionTrial(
                name=name,
                options=alternatives[name].options(),
                precision=precision,
                workload=request.workload,
                seconds=timing.seconds,
            )
            for name, timing in bench.options(alternatives).items()
        ]
    return profile.with_options(alternatives[_best(trials)], trials)


def _best(trials: list[OptionTrial]) -> str:
    """The name of the lowest geometric mean over precisions; the first unless it is clearly beaten.

    One that did not run at every precision is out.
    """
    times = Counter(trial.name for trial in trials)
    names = [name for name, count in times.items() if count == times[trials[0].name]]
    scores = {name: float(np.mean([np.log(trial.seconds) for trial in trials if trial.name == name])) for name in names}
    best = min(names, key=scores.__getitem__)
    return best if scores[best] < scores[names[0]] - _MUST_WIN_BY else names[0]
