"""How long does it take, and how sure are we."""

from benchmarks.benchmark import benchmark_files
from benchmarks.benchmark_result import BenchmarkResult
from benchmarks.budget import Budget
from benchmarks.calls import measure_calls
from benchmarks.comparison import Comparison, compare
from benchmarks.contestant import Contestant
from benchmarks.environment import Environment, MachineState, read_environment
from benchmarks.errors import DeviceUnreachableError, TrimfitError
from benchmarks.lengths import Lengths
from benchmarks.machine_peak import MachinePeak, machine_peak
from benchmarks.measurement import LaunchFacts, Measurement, Samples, Subject
from benchmarks.sampling import measure
from benchmarks.stability import instability
from benchmarks.workload import Workload

__all__ = [
    "BenchmarkResult",
    "Budget",
    "Comparison",
    "Contestant",
    "DeviceUnreachableError",
    "Environment",
    "LaunchFacts",
    "Lengths",
    "MachinePeak",
    "MachineState",
    "Measurement",
    "Samples",
    "Subject",
    "TrimfitError",
    "Workload",
    "benchmark_files",
    "compare",
    "instability",
    "machine_peak",
    "measure",
    "measure_calls",
    "read_environment",
]
