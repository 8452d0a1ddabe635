"""What a profile knows of the machine itself: the peak of its arithmetic, its memory, and what threads bring."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from benchmarks.gpu.place import gpu_in_force
from benchmarks.machine_peak import Precision, machine_peak
from benchmarks.memory_bandwidth import memory_bandwidth
from benchmarks.workload import Workload
from hardware_profiles.bench import Bench
from hardware_profiles.gpu_machine import measure_gpu
from hardware_profiles.profile import Anchor, LatencyProfile
from hardware_profiles.profile_request import ProfileRequest
from hardware_profiles.shape import EncoderShape

__all__ = ["measure_machine", "peak_precision", "thread_counts"]

_ARITHMETICS: tuple[Precision, ...] = ("fp32", "int8", "fp16")


def thread_counts(cores: int) -> tuple[int, ...]:
    """1, 2, 4, ... and `cores`."""
    return tuple(sorted({cores, *(1 << n for n in range(cores.bit_length()))}))


def peak_precision(precision: str) -> Precision | None:
    """The arithmetic whose peak a precision is held against: "fp32", "fp16", "int8" for all its kinds; or None."""
    return next((peak for peak in _ARITHMETICS if precision.split("-")[0] == peak), None)


def measure_machine(
    profile: LatencyProfile, request: ProfileRequest, progress: Callable[[str], None], seed: int = 0
) -> Iterator[LatencyProfile]:
    """Measure what `request.asks_for_machine` and the profile lacks; yields the profile after each step."""
    if not request.asks_for_machine:
        return
    if place := gpu_in_force():
        yield from measure_gpu(profile, request, place, progress)
        return
    threads = request.workload.threads
    for arithmetic in dict.fromkeys(map(peak_precision, request.precisions)):
        if arithmetic and not any((p.threads, p.precision) == (threads, arithmetic) for p in profile.peaks):
            progress(f"{arithmetic}: the machine's peak")
            profile = profile.with_peaks(machine_peak(threads, arithmetic))
            yield profile
    if not any(bandwidth.threads == threads for bandwidth in profile.bandwidths):
        progress("how fast memory is read")
        profile = profile.with_bandwidths(memory_bandwidth(threads))
        yield profile
    for precision in request.precisions:
        if not _scaling_is_known(profile, request, precision):
            progress(f"{precision}: what threads bring")
            profile = profile.with_thread_scaling(*_scaling(profile, request, precision, seed))
            yield profile


def _largest(request: ProfileRequest, precision: str) -> EncoderShape:
    return next(iter(request.anchors(precision).values())).shape


def _at(request: ProfileRequest, threads: int) -> Workload:
    return request.workload.model_copy(update={"threads": threads})


def _scaling_is_known(profile: LatencyProfile, request: ProfileRequest, precision: str) -> bool:
    shape = _largest(request, precision)
    known = {
        model.workload
        for model in profile.thread_scaling
        if (model.shape, model.precision, model.activation) == (shape, precision, request.activation)
    }
    return known >= {_at(request, count) for count in thread_counts(profile.device.cores)}


def _scaling(profile: LatencyProfile, request: ProfileRequest, precision: str, seed: int) -> Iterator[Anchor]:
    """The largest model with every number of threads, timed in turns."""
    bench = Bench(profile.runtime_at(request.workload), request, precision, seed)
    for count, timing in bench.threads(thread_counts(profile.device.cores)).items():
        yield Anchor(
            name=f"{count} thread{'s' if count > 1 else ''}",
            shape=_largest(request, precision),
            workload=_at(request, count),
            precision=precision,
            **vars(timing),
            activation=request.activation,
            source="built",
        )
