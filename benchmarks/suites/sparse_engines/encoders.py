"""The encoders of the study: random weights, a share of them zero."""

from __future__ import annotations

from pathlib import Path

from hardware_profiles.micro_graph import encoder_graph
from hardware_profiles.shape import EncoderShape
from hardware_profiles.unit import Pattern, block_weights

__all__ = ["ENCODERS", "dense_encoder_bytes", "write_encoder"]

ENCODERS = {
    "bert-4": EncoderShape.uniform(768, 64, depth=4, heads=12, ffn=3072),
    "bert-12": EncoderShape.uniform(768, 64, depth=12, heads=12, ffn=3072),
    "minilm-6": EncoderShape.uniform(384, 32, depth=6, heads=12, ffn=1536),
}
FLOAT_BYTES = 4


def write_encoder(name: str, path: Path, sparsity: float, pattern: Pattern) -> Path:
    """Write the ONNX file of an encoder with its zeros one by one ("unstructured") or in 1x4 blocks ("block")."""
    return encoder_graph(ENCODERS[name], path, sparsity=sparsity, pattern=pattern)


def dense_encoder_bytes(name: str) -> int:
    """Bytes of the fp32 weights of all linear layers in the encoder's blocks, zeros stored."""
    shape = ENCODERS[name]
    widths = [(layer.heads, layer.ffn) for layer in shape.layers]
    weights = sum(
        block_weights("attention", heads, shape.hidden_size, shape.head_size)
        + block_weights("ffn", ffn, shape.hidden_size, shape.head_size)
        for heads, ffn in widths
    )
    return weights * FLOAT_BYTES
