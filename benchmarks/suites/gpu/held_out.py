"""Held-out models of a GPU: random encoders whose widths the tool would propose, at fp32 and fp16 in turn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.suites.latency_prediction.group import Group
from benchmarks.suites.latency_prediction.held_out import random_shape
from benchmarks.suites.latency_prediction.model import Model
from hardware_profiles.runtimes import stock_name
from hardware_profiles.shape import EncoderShape, LayerWidths

__all__ = ["GpuModel", "aligned", "held_out_of_gpu"]

PRECISIONS = ("fp32", "fp16")
_ALIGNED = 16  # halves in a row, for tensor cores; other widths fall to slower kernels, and are never proposed


@dataclass(frozen=True)
class GpuModel(Model):
    """A model that the GPU's stock runtime runs."""

    @property
    def runtime(self) -> str:
        """The runtime's name."""
        return stock_name()


def held_out_of_gpu(group: Group, seed: int = 0) -> list[Model]:
    """The models of a group: the same ones for the same seed, others for every batch."""
    return [_drawn(group, number, seed) for number in range(group.models)]


def _drawn(group: Group, number: int, seed: int) -> Model:
    at = group.workload
    random = np.random.default_rng((seed, group.hidden_size, at.seq_len, at.batch, number))
    return GpuModel(aligned(random_shape(group, random)), PRECISIONS[number % len(PRECISIONS)])


def aligned(shape: EncoderShape) -> EncoderShape:
    """The shape with its FFN widths at multiples of 16, none of them gone by that."""
    layers = (
        LayerWidths(heads=layer.heads, ffn=layer.ffn and _ALIGNED * max(1, round(layer.ffn / _ALIGNED)))
        for layer in shape.layers
    )
    return shape.model_copy(update={"layers": tuple(layers)})
