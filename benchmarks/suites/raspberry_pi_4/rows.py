"""Rows: published latencies of translation transformers on the device, and which of them are held out."""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.errors import TrimfitError

__all__ = ["Rows"]

Floats = NDArray[np.float64]

ENCODER = ("encoder_embed_dim", "encoder_ffn_embed_dim_avg", "encoder_self_attention_heads_avg")
MOST_DEVIATION = 0.1  # standard deviation over mean of a row's own repetitions, above which it is unsteady
MOST_OVER_MEDIAN = 2.0  # the board was cold or throttled where a row took more than this many times the median
PARTS_OF = 3  # one in three is held out


@dataclass(frozen=True)
class Rows:
    """`columns` by name [n], as HAT's files call them; milliseconds."""

    columns: dict[str, Floats]

    @classmethod
    def read(cls, path: Path) -> Rows:
        """Read a latency file of HAT. Raises TrimfitError where it is not there or has no such columns."""
        try:
            with path.open(encoding="utf-8", newline="") as file:
                found = list(csv.DictReader(file))
            columns = {name: np.array([float(row[name]) for row in found]) for name in found[0]}
        except (OSError, ValueError, IndexError) as error:
            raise TrimfitError(f"got {path}, expected latencies of HAT: give --data the folder with hat/") from error
        if missing := [name for name in (*ENCODER, "latency_mean_encoder") if name not in columns]:
            raise TrimfitError(f"got {path} without {missing[0]}, expected latencies of HAT: give --data their folder")
        return cls(columns)

    def __getitem__(self, name: str) -> Floats:
        return self.columns[name]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def held_out(self, seed: int = 0) -> NDArray[np.bool_]:
        """About a third, by a hash of the encoder: no encoder is both fitted and scored. Array [n]."""
        encoders = zip(*(self[name] for name in ENCODER), strict=True)
        return np.array([_is_held_out(f"{seed} {' '.join(f'{x:.3f}' for x in encoder)}") for encoder in encoders])

    def steady(self, part: str) -> NDArray[np.bool_]:
        """Of "encoder", "decoder" or "whole": rows whose repetitions agree and no cold board delayed. Array [n]."""
        if part == "whole":
            return self.steady("encoder") & self.steady("decoder")
        mean, deviation = self[f"latency_mean_{part}"], self[f"latency_std_{part}"]
        return (deviation <= MOST_DEVIATION * mean) & (mean <= MOST_OVER_MEDIAN * np.median(mean))

    def milliseconds(self, part: str) -> Floats:
        """Of "encoder", "decoder" or "whole". Array [n]."""
        if part == "whole":
            return self.milliseconds("encoder") + self.milliseconds("decoder")
        return self[f"latency_mean_{part}"]


def _is_held_out(key: str) -> bool:
    return int(hashlib.sha256(key.encode()).hexdigest(), 16) % PARTS_OF == 0
