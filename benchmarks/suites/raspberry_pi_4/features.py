"""Features: what a translation transformer computes, by kind, so that milliseconds add up over its layers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.suites.raspberry_pi_4.rows import Rows

__all__ = ["TOKENS", "WIDTH", "Features", "decoder_features", "encoder_features", "gflop"]

Floats = NDArray[np.float64]
Features = dict[str, Floats]

TOKENS = 30  # of the sentence that was translated, and of its translation
BEAM = 5  # fairseq's default: what the decoder computes at every step is for as many rows
WIDTH = 512  # queries, keys and values, whatever the number of heads
_GIGA = 1e9


def encoder_features(rows: Rows) -> Features:
    """GFLOP of FFNs and of attention, heads and layers; arrays [n]. See `hardware_profiles.work.Work`."""
    layers, hidden = rows["encoder_layer_num"], rows["encoder_embed_dim"]
    projections = 2 * 4 * TOKENS * hidden * WIDTH
    core = 2 * 2 * TOKENS * TOKENS * WIDTH
    return {
        "ffn_gflop": layers * 2 * 2 * TOKENS * hidden * rows["encoder_ffn_embed_dim_avg"] / _GIGA,
        "attention_gflop": layers * (projections + core) / _GIGA,
        "heads": layers * rows["encoder_self_attention_heads_avg"],
        "layers": layers,
    }


def decoder_features(rows: Rows, vocabulary: int) -> Features:
    """The same of the decoder, which runs once a token; with keys and values of the encoder's output, and words.

    Arrays [n]. `vocabulary`: words that the last layer chooses from at every step.
    """
    layers, hidden = rows["decoder_layer_num"], rows["decoder_embed_dim"]
    made = TOKENS * BEAM
    read = 2 * 2 * TOKENS * rows["encoder_embed_dim"] * WIDTH * rows["decoder_arbitrary_ende_attn_avg"]
    heads = rows["decoder_self_attention_heads_avg"] + rows["decoder_ende_attention_heads_avg"]
    return {
        "ffn_gflop": layers * 2 * 2 * made * hidden * rows["decoder_ffn_embed_dim_avg"] / _GIGA,
        "attention_gflop": layers * 2 * 6 * made * hidden * WIDTH / _GIGA,
        "read_gflop": layers * read / _GIGA,
        "words_gflop": 2 * made * hidden * vocabulary / _GIGA,
        "heads": layers * heads,
        "layers": layers,
        "constant": np.ones(len(rows)),
    }


def gflop(*parts: Features) -> Floats:
    """All arithmetic of all parts. Array [n]."""
    return np.sum([values for part in parts for name, values in part.items() if name.endswith("gflop")], axis=0)
