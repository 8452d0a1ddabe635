"""Published figures made by hand, of a board whose every cost is known."""

from __future__ import annotations

from benchmarks.workload import Workload
from hardware_profiles import Device, EncoderShape
from hardware_profiles.interval import Interval
from hardware_profiles.published_model import Calibration, Costs, PublishedModel, Source

DEVICE = Device(name="abacus", cores=4, machine="aarch64", system="Linux", provenance="published")
SHAPE = EncoderShape.uniform(64, 16, 2, 4, 256)
WORKLOAD = Workload(batch=1, seq_len=32, threads=4)
LEVEL = {1: 40.0, 4: 10.0}
FACTOR, RESIDUAL, INT8 = 2.0, 0.1, Interval(low=1.25, high=1.8)
COSTS = Costs(
    ffn_ms_per_gflop=100, attention_ms_per_gflop=200, head_ms=0.01, constant_ms=1, layers=6, rows=16, hidden_size=48
)
ARITHMETIC = COSTS.model_copy(
    update={"ffn_ms_per_gflop": 100, "attention_ms_per_gflop": 100, "head_ms": 0.0, "constant_ms": 0.0}
)


def model(**changes: object) -> PublishedModel:
    """Of the board; the calibrating encoder is SHAPE at WORKLOAD's length."""
    found = PublishedModel(
        device=DEVICE,
        core="Cortex-A72",
        sources=(Source(name="a book", reference="p. 12", licence="none", used_for="everything"),),
        costs=COSTS,
        calibration=Calibration(shape=SHAPE, rows=WORKLOAD.seq_len, extra_gflop=0, ms=LEVEL, engine_factor=FACTOR),
        int8=INT8,
        residual=RESIDUAL,
        rows=(8, 64),
        hidden_sizes=(32, 64),
        encoders=7,
        transfers_badly=("the weather",),
    )
    return found.model_copy(update=changes)
