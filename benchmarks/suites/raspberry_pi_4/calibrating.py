"""Calibrating: what another engine took on the same board, for the level of fp32 and for what int8 brings."""

from __future__ import annotations

import csv
from pathlib import Path

from benchmarks.errors import TrimfitError
from hardware_profiles.interval import Interval
from hardware_profiles.published_model import Calibration
from hardware_profiles.shape import EncoderShape

__all__ = ["BOARD", "EngineRows", "calibration", "int8_interval", "int8_pairs", "read_engine"]

BOARD = "Raspberry Pi 4 Model B Broadcom BCM2711B0, Cortex-A72 (ARMv8) (1.8GHz x 4)"
ENCODER = "vision_transformer"
SHAPE = EncoderShape.uniform(768, 64, 12, 12, 3072)  # ViT-B/32 at 384 x 384
ROWS = 145  # 12 x 12 patches and one more
PATCHES_GFLOP = 2 * 144 * 32 * 32 * 3 * 768 / 1e9
_INT8 = "_int8"

EngineRows = dict[tuple[str, int], float]
"""Mean milliseconds by network and threads."""


def read_engine(path: Path) -> EngineRows:
    """The rows of the board on its CPU in ncnn's benchmark table. Raises TrimfitError where there are none."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["device"] == BOARD and row["gpu_device"] == "-1"]
    except (OSError, KeyError) as error:
        raise TrimfitError(f"got {path}, expected ncnn's table: give --data the folder with ncnn_benchmark/") from error
    if not rows:
        raise TrimfitError(
            f"got {path} without {BOARD}, expected its rows: give --data the folder with ncnn_benchmark/"
        )
    return {(row["model"], int(row["num_threads"])): float(row["avg_ms"]) for row in rows}


def int8_pairs(engine: EngineRows) -> dict[str, float]:
    """How many times faster int8 networks are than their fp32 twins, e.g. {"resnet50, 4 threads": 1.34}."""
    return {
        f"{name}, {threads} thread{'s' if threads > 1 else ''}": round(ms / engine[name + _INT8, threads], 3)
        for (name, threads), ms in engine.items()
        if (name + _INT8, threads) in engine
    }


def int8_interval(pairs: dict[str, float]) -> Interval:
    """From the least to the most that int8 brought."""
    return Interval(low=min(pairs.values()), high=max(pairs.values()))


def calibration(engine: EngineRows, fitted_gflops: float) -> Calibration:
    """The engine's encoder, and how far the two engines' effective GFLOP/s lie apart with the most threads.

    `fitted_gflops` is that of the encoders that the costs were fitted to; nobody recorded their threads.
    """
    ms = {threads: taken for (name, threads), taken in engine.items() if name == ENCODER}
    found = Calibration(shape=SHAPE, rows=ROWS, extra_gflop=round(PATCHES_GFLOP, 4), ms=ms, engine_factor=2.0)
    ratio = found.work().gflop / (ms[max(ms)] / 1e3) / fitted_gflops
    return found.model_copy(update={"engine_factor": round(max(ratio, 1 / ratio), 3)})
