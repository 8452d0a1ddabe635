"""Random whole models that no profile has seen."""

from __future__ import annotations

import numpy as np

from benchmarks.suites.latency_prediction.group import Group
from benchmarks.suites.latency_prediction.model import KINDS, Model
from hardware_profiles.shape import EncoderShape, LayerWidths

__all__ = ["held_out", "random_shape", "random_sparsity"]

LEAST_DEPTH = 2
REMOVED = 0.1  # share of the layers that lack one of their blocks
LEAST_ZEROS, MOST_ZEROS = 0.5, 0.95


def held_out(group: Group, seed: int = 0) -> list[Model]:
    """The models of a group: the same ones for the same seed, the kinds in turn."""
    return [_drawn(group, number, seed) for number in range(group.models)]


def _drawn(group: Group, number: int, seed: int) -> Model:
    at = group.workload
    random = np.random.default_rng((seed, group.hidden_size, at.seq_len, at.threads, number))
    precision, pattern = KINDS[(group.first_kind + number) % len(KINDS)]
    sparsity = random_sparsity(random) if pattern != "dense" else 0.0
    return Model(random_shape(group, random), precision, pattern, sparsity)


def random_shape(group: Group, random: np.random.Generator) -> EncoderShape:
    """2 to the full depth, each layer with heads and neurons of its own, any number of them; now and then a block less.

    Few of these widths are among the measured ones.
    """
    depth = int(random.integers(LEAST_DEPTH, group.depth, endpoint=True))
    layers = tuple(_random_layer(group, random) for _ in range(depth))
    return EncoderShape(hidden_size=group.hidden_size, head_size=group.head_size, layers=layers)


def _random_layer(group: Group, random: np.random.Generator) -> LayerWidths:
    heads = int(random.integers(1, group.max_heads, endpoint=True))
    ffn = int(random.integers(1, group.max_ffn, endpoint=True))
    if random.random() < REMOVED:
        heads, ffn = (0, ffn) if random.random() < 0.5 else (heads, 0)
    return LayerWidths(heads=heads, ffn=ffn)


def random_sparsity(random: np.random.Generator) -> float:
    """A share of zeros in whole percent, mostly between those that were measured."""
    return round(float(random.uniform(LEAST_ZEROS, MOST_ZEROS)), 2)
