"""Whether a measurement can be trusted: sentences with the size of each trouble and its remedy."""

from __future__ import annotations

import math

from benchmarks.crowding import cpus_of_others, is_crowded
from benchmarks.environment import Environment
from benchmarks.measurement import Measurement

__all__ = ["instability", "machine_trouble"]

MAX_IQR_SHARE = 0.10  # of the median: torch.utils.benchmark calls more "system fluctuation"
MAX_SIGNIFICANT_IQR_SHARE = 0.25  # and from here "significant environmental influence"
MAX_OUTLIER_SHARE = 0.10
MAX_INTERRUPTED_SHARE = 0.10
MAX_HALF_WIDTH = 0.05  # of the median's 95 % interval, relative
MIN_LAUNCHES = 3
MIN_SAMPLES = 20
MIN_SECONDS = 1e-5  # under this the clock and the call itself are a good part of what is measured
MAX_STEAL_SHARE = 0.02  # of the time of all CPUs
MAX_FREQUENCY_CHANGE = 0.10
QUIET_GOVERNORS = (None, "performance")


def instability(measurement: Measurement) -> list[str]:
    """What is wrong with the measurement, most telling first; an empty list means stable."""
    checks = (_interrupted, _crowded, _spread, _outliers, _interval, _amount, _tiny, _machine)
    return [sentence for check in checks for sentence in check(measurement)]


def _interrupted(m: Measurement) -> list[str]:
    if m.interrupted_share <= MAX_INTERRUPTED_SHARE:
        return []
    use = "the figures are those of the others" if m.undisturbed else "too few others are left, so they count"
    return [
        f"{m.interrupted_share:.0%} of the calls were interrupted by other processes (limit "
        f"{MAX_INTERRUPTED_SHARE:.0%}; {use}): close other programs or use fewer threads"
    ]


def _crowded(m: Measurement) -> list[str]:
    env, threads = m.environment, m.subject.workload.threads
    if env.after is None:
        return []
    others, cpus = cpus_of_others(env.before, env.after), env.cores * env.threads_per_core
    if not is_crowded(others, threads, cpus):
        return []
    return [
        f"other processes kept {others:.1f} of {cpus} CPUs busy, too many to leave room for "
        f"{threads} thread{'s' if threads > 1 else ''}: close other programs"
    ]


def _spread(m: Measurement) -> list[str]:
    share = m.iqr / m.median if m.seconds.size else 0.0
    if share <= MAX_IQR_SHARE:
        return []
    weight = "significant " if share > MAX_SIGNIFICANT_IQR_SHARE else ""
    return [
        f"{weight}fluctuation: IQR is {share:.0%} of the median (limit {MAX_IQR_SHARE:.0%}): "
        "close other programs or measure for longer"
    ]


def _outliers(m: Measurement) -> list[str]:
    share = m.outliers / max(1, m.seconds.size)
    if share <= MAX_OUTLIER_SHARE:
        return []
    return [
        f"{share:.0%} of the calls are outliers (limit {MAX_OUTLIER_SHARE:.0%}, none removed): close other programs"
    ]


def _interval(m: Measurement) -> list[str]:
    if not m.seconds.size:
        return []
    share = (m.interval.high - m.interval.low) / 2 / m.median
    if not math.isfinite(share) or share <= MAX_HALF_WIDTH:
        return []
    return [
        f"the median is only known within {share:.0%} (limit {MAX_HALF_WIDTH:.0%}): "
        "launches differ from each other; measure for longer"
    ]


def _amount(m: Measurement) -> list[str]:
    sentences = []
    launches = len(set(m.samples.launch))
    if launches < MIN_LAUNCHES:
        sentences.append(
            f"{launches} launch{'es' if launches != 1 else ''} of the process (limit {MIN_LAUNCHES}): "
            "differences between launches are not seen; measure for longer"
        )
    if m.seconds.size < MIN_SAMPLES:
        sentences.append(f"only {m.seconds.size} samples (limit {MIN_SAMPLES}): measure for longer")
    return sentences


def _tiny(m: Measurement) -> list[str]:
    if not m.seconds.size or m.median >= MIN_SECONDS:
        return []
    return [f"a call takes {m.median * 1e6:.1f} us (limit {MIN_SECONDS * 1e6:.0f} us): time a larger batch"]


def _machine(m: Measurement) -> list[str]:
    return machine_trouble(m.environment)


def machine_trouble(env: Environment) -> list[str]:
    """What a machine did in a run that makes its times doubtful: governor, heat, clock, a hypervisor's other guests."""
    before, after = env.before, env.after
    sentences = []
    if env.governor not in QUIET_GOVERNORS:
        sentences.append(
            f"CPU governor is {env.governor}: set it to performance (cpupower frequency-set -g performance)"
        )
    if after is None:
        return sentences
    sentences += after.slowed
    if not after.slowed and (events := _increase(before.throttles, after.throttles)) > 0:
        sentences.append(f"the CPU throttled {events:.0f} times from heat: let it cool or measure for a shorter time")
    stolen = _increase(before.steal_seconds, after.steal_seconds) / _cpu_seconds(env)
    if stolen > MAX_STEAL_SHARE:
        sentences.append(
            f"the hypervisor took {stolen:.0%} of the time for others (limit {MAX_STEAL_SHARE:.0%}): measure again"
        )
    change = _increase(before.frequency_mhz, after.frequency_mhz) / (before.frequency_mhz or math.inf)
    if abs(change) > MAX_FREQUENCY_CHANGE:
        sentences.append(
            f"CPU frequency changed by {change:+.0%} (limit {MAX_FREQUENCY_CHANGE:.0%}): fix it or let the machine cool"
        )
    return sentences


def _cpu_seconds(env: Environment) -> float:
    """What all CPUs together could have run from the first to the last look at the machine."""
    passed = _increase(env.before.unix_seconds, env.after.unix_seconds) if env.after else 0.0
    return passed * env.cores * env.threads_per_core or math.inf


def _increase(before: float | None, after: float | None) -> float:
    return 0.0 if before is None or after is None else after - before
