"""ONNX models to be timed: one Unit several times in a row, or a whole encoder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks.workload import Workload
from hardware_profiles.graph import VOCABULARY, EncoderGraph
from hardware_profiles.shape import HasShape
from hardware_profiles.unit import Pattern, Unit

__all__ = ["encoder_graph", "random_inputs", "unit_graph"]

_POSITIONS = 512


def unit_graph(unit: Unit, repeat: int, path: Path, *, seq_len: int = _POSITIONS, seed: int = 0) -> Path:
    """Write the glue and `repeat` copies of a unit after one another, each with weights of its own.

    The time of a unit is (time of this graph - time of the glue's graph) / repeat: the attention mask is an
    output in all of them, so that each pays for it.
    """
    graph = EncoderGraph(
        unit.hidden_size,
        head_size=unit.head_size,
        activation=unit.activation,
        pattern=unit.pattern,
        sparsity=unit.sparsity,
        max_positions=max(_POSITIONS, seq_len),
        seed=seed,
    )
    for _ in range(repeat):
        if unit.kind == "attention":
            graph.attention(unit.width)
        elif unit.kind == "ffn":
            graph.ffn(unit.width)
    return graph.save(path, keep_mask=True)


def encoder_graph(
    shape: HasShape,
    path: Path,
    *,
    activation: str = "gelu",
    pattern: Pattern = "unstructured",
    sparsity: float | Mapping[tuple[int, int], float] = 0.0,
    seq_len: int = _POSITIONS,
    seed: int = 0,
) -> Path:
    """Write a whole sequence classifier of a shape with random weights: what a model of it will take.

    `sparsity` is of all linear layers in the encoder's, or by their sizes (outputs, inputs).
    """
    graph = EncoderGraph(
        shape.hidden_size,
        head_size=shape.head_size,
        activation=activation,
        pattern=pattern,
        sparsity=sparsity,
        max_positions=max(_POSITIONS, seq_len),
        seed=seed,
    )
    for layer in shape.layers:
        graph.attention(layer.heads).ffn(layer.ffn)
    return graph.save(path)


def random_inputs(workload: Workload, seed: int = 0) -> dict[str, np.ndarray]:
    """Random token ids and a mask without padding, int64 [batch, seq_len]."""
    shape = (workload.batch, workload.seq_len)
    return {
        "input_ids": np.random.default_rng(seed).integers(0, VOCABULARY, shape),
        "attention_mask": np.ones(shape, np.int64),
        "token_type_ids": np.zeros(shape, np.int64),
    }
