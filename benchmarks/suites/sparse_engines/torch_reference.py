"""PyTorch's logits for the weights of an ONNX encoder: what every engine's are compared with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from transformers import BertConfig, BertForSequenceClassification

from benchmarks.suites.sparse_engines.encoders import ENCODERS
from hardware_profiles.graph import VOCABULARY

__all__ = ["torch_logits"]

EPSILON = 1e-12
LABELS = 2
POSITIONS = 512
TABLES = ("word", "position", "token_type")
Tensors = Mapping[str, np.ndarray]


def torch_logits(model: Path, name: str, feed: Tensors) -> np.ndarray:
    """Logits [batch, labels] in fp32.

    Args:
        model: an ONNX file as `EncoderGraph` writes it.
        name: of its encoder.
        feed: int64 [batch, tokens] by input name.
    """
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(str(model)).graph.initializer}
    bert = BertForSequenceClassification(_config(name)).eval()
    weights = {key: torch.tensor(np.ascontiguousarray(value)) for key, value in _weights(tensors, name)}
    bert.load_state_dict(weights)
    with torch.no_grad():
        logits: np.ndarray = bert(**{key: torch.from_numpy(value) for key, value in feed.items()}).logits.numpy()
    return logits


def _config(name: str) -> BertConfig:
    shape = ENCODERS[name]
    return BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=shape.hidden_size,
        num_hidden_layers=len(shape.layers),
        num_attention_heads=shape.layers[0].heads,
        intermediate_size=shape.layers[0].ffn,
        max_position_embeddings=POSITIONS,
        layer_norm_eps=EPSILON,
        num_labels=LABELS,
    )


def _weights(tensors: Tensors, name: str) -> Iterator[tuple[str, np.ndarray]]:
    """Every weight by its name in PyTorch, [out, in] where it is a linear layer's."""
    for table in TABLES:
        yield f"bert.embeddings.{table}_embeddings.weight", tensors[f"{table}_embeddings.weight"]
    yield from _pair("bert.embeddings.LayerNorm", tensors, "embeddings/LayerNorm")
    for i in range(len(ENCODERS[name].layers)):
        yield from _layer(f"bert.encoder.layer.{i}", tensors, f"block.{2 * i}/attention", f"block.{2 * i + 1}/ffn")
    yield from _pair("bert.pooler.dense", tensors, "pooler")
    yield from _pair("classifier", tensors, "logits")


def _layer(layer: str, tensors: Tensors, attention: str, ffn: str) -> Iterator[tuple[str, np.ndarray]]:
    for role in ("query", "key", "value"):
        yield from _linear(f"{layer}.attention.self.{role}", tensors, f"{attention}/self/{role}")
    yield from _linear(f"{layer}.attention.output.dense", tensors, f"{attention}/output/dense")
    yield from _pair(f"{layer}.attention.output.LayerNorm", tensors, f"{attention}/output/LayerNorm")
    yield from _linear(f"{layer}.intermediate.dense", tensors, f"{ffn}/up")
    yield from _linear(f"{layer}.output.dense", tensors, f"{ffn}/output/dense")
    yield from _pair(f"{layer}.output.LayerNorm", tensors, f"{ffn}/output/LayerNorm")


def _linear(target: str, tensors: Tensors, source: str) -> Iterator[tuple[str, np.ndarray]]:
    yield f"{target}.weight", tensors[f"{source}.weight"].T
    yield f"{target}.bias", tensors[f"{source}.bias"]


def _pair(target: str, tensors: Tensors, source: str) -> Iterator[tuple[str, np.ndarray]]:
    yield f"{target}.weight", tensors[f"{source}.weight"]
    yield f"{target}.bias", tensors[f"{source}.bias"]
