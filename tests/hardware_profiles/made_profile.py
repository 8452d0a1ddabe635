"""Profiles made by hand, of a machine whose every cost is known."""

from __future__ import annotations

from benchmarks.machine_peak import MachinePeak
from benchmarks.memory_bandwidth import MemoryBandwidth
from benchmarks.workload import Workload
from hardware_profiles import Anchor, Device, EncoderShape, LatencyProfile, LayerWidths, RuntimeRecord, Unit, UnitTiming

WORKLOAD = Workload(batch=1, seq_len=64, threads=1)
DEVICE = Device(name="slide rule", isa=("wood",), cores=1, machine="x86_64", system="Linux")
RUNTIME = RuntimeRecord(name="onnxruntime-cpu", version="1.0", options={"disabled_optimizers": ["SkipLayerNormFusion"]})
HIDDEN, HEAD = 384, 32
GLUE = 50e-6
HEAD_WIDTHS = (0, 1, 2, 4)
FFN_WIDTHS = (0, 32, 64, 128)
REPEAT = 2
PEAK = MachinePeak(gflops=200.0, threads=1, shape=(512, 512, 512))
BANDWIDTH = MemoryBandwidth(gigabytes_per_second=20.0, threads=1, bytes=1 << 28)


def cost(unit):
    """Seconds of one copy: 10 us a removed block, then 40 us a head and 1 us a neuron more; zeros are free."""
    return 10e-6 + unit.width * (40e-6 if unit.kind == "attention" else 1e-6)


def unit(kind, width, sparsity=0.0):
    pattern = "unstructured" if sparsity else "dense"
    return Unit(kind=kind, hidden_size=HIDDEN, head_size=HEAD, width=width, pattern=pattern, sparsity=sparsity)


def timing(of, seconds_each=None, precision="fp32", workload=WORKLOAD, slower=1.0, repeat=REPEAT):
    each = cost(of) if seconds_each is None else seconds_each
    return UnitTiming(
        unit=of,
        workload=workload,
        precision=precision,
        repeat=repeat,
        seconds=(GLUE + repeat * each) * slower,
        iqr=1e-6,
        n=10,
        glue_seconds=GLUE * slower,
        reference_seconds=1e-3 * slower,
    )


def units(sparsities=(0.5, 0.9)):
    yield from (unit("attention", width) for width in HEAD_WIDTHS)
    yield from (unit("ffn", width) for width in FFN_WIDTHS)
    for sparsity in sparsities:
        yield unit("attention", HEAD_WIDTHS[-1], sparsity)
        yield unit("ffn", FFN_WIDTHS[-1], sparsity)


def profile(**changes):
    """Every unit of the machine in fp32."""
    return LatencyProfile(device=DEVICE, runtime=RUNTIME, entries=tuple(timing(u, **changes) for u in units()))


def shape(*layers):
    widths = tuple(LayerWidths(heads=heads, ffn=ffn) for heads, ffn in layers)
    return EncoderShape(hidden_size=HIDDEN, head_size=HEAD, layers=widths)


def true_seconds(of):
    return GLUE + sum(20e-6 + 40e-6 * layer.heads + 1e-6 * layer.ffn for layer in of.layers)


def anchor(of, times_truth=1.0, source="built", name="anchor", slower=1.0):
    return Anchor(
        name=name,
        shape=of,
        workload=WORKLOAD,
        precision="fp32",
        seconds=true_seconds(of) * times_truth * slower,
        source=source,
        reference_seconds=1e-3 * slower if source == "built" else None,
    )
