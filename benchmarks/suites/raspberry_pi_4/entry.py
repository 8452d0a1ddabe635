"""Entry: what the catalog holds of the device: fitted figures, their sources, and what transfers badly."""

from __future__ import annotations

import numpy as np

from benchmarks.suites.raspberry_pi_4.calibrating import EngineRows, calibration, int8_interval, int8_pairs
from benchmarks.suites.raspberry_pi_4.features import TOKENS
from benchmarks.suites.raspberry_pi_4.fitting import Costs
from benchmarks.suites.raspberry_pi_4.study import Study
from hardware_profiles.device import Device
from hardware_profiles.published_model import Costs as EncoderCosts
from hardware_profiles.published_model import PublishedModel, Source

__all__ = ["HAT", "NCNN", "entry"]

HAT = Source(
    name="HAT",
    reference="Wang et al. 2020, ACL, arXiv 2005.14187; github.com/mit-han-lab/hardware-aware-transformers"
    " 70e5a279d080670208249fdd98ed731fa9bcc466, latency_dataset/wmt14ende_cpu_raspberrypi_all.csv",
    licence="MIT",
    used_for="what FFN, attention, heads and layers of an encoder cost beside each other",
)
NCNN = Source(
    name="ncnn",
    reference="github.com/Tencent/ncnn a4d2ea1d4422c9e849f166fd7a4aefb52f942f6a, benchmark/README.md",
    licence="BSD-3-Clause",
    used_for="the level by threads (one encoder of BERT-base's size, 145 tokens), and what int8 brings",
)
DEVICE = Device(
    name="Raspberry Pi 4 Model B (BCM2711, 4 x Cortex-A72, 1.8 GHz)",
    core_kinds={"ARM 0x41/0xd08 r0p3": 4},
    cores=4,
    machine="aarch64",
    system="Linux",
    provenance="published",
)
TRANSFERS_BADLY = (
    "encoders of 6 layers of translation models in PyTorch fp32, batch 1, 30 tokens, threads not recorded, are what was"
    " timed; the decoders' costs do not transfer to a classifier and are left out",
    "no latency of onnxruntime: its level is taken to lie as far from ncnn's, either way, as PyTorch's does",
    "no depth but 6 and no length but 30 tokens for the shares of the pieces: the interval spans a constant cost that"
    " is paid by layer, by call, by row or not at all",
    "no int8 of a transformer: the ends are those of ncnn's convolutional networks and their int8 twins on this board,"
    " whose activations have fixed scales; Cortex-A72 has no dot-product instructions",
)
_DIGITS = 4


def entry(study: Study, costs: Costs, engine: EngineRows) -> PublishedModel:
    """The published model of the board from the encoder's costs, and from another engine's rows."""
    rows = study.rows
    calibrated = calibration(engine, study.gflops())
    hidden = rows["encoder_embed_dim"]
    return PublishedModel(
        device=DEVICE,
        core="Cortex-A72",
        sources=(HAT, NCNN),
        costs=EncoderCosts(
            ffn_ms_per_gflop=round(costs["ffn_gflop"], _DIGITS),
            attention_ms_per_gflop=round(costs["attention_gflop"], _DIGITS),
            head_ms=round(costs["heads"], _DIGITS),
            constant_ms=round(costs["layers"], _DIGITS),
            layers=int(rows["encoder_layer_num"].max()),
            rows=TOKENS,
            hidden_size=round(float(np.mean(hidden)), 1),
        ),
        calibration=calibrated,
        int8=int8_interval(int8_pairs(engine)),
        residual=round(float(np.quantile(study.errors({"encoder": costs}), 0.95)), _DIGITS),
        rows=(TOKENS, calibrated.rows),
        hidden_sizes=(int(hidden.min()), calibrated.shape.hidden_size),
        encoders=study.fitted,
        transfers_badly=TRANSFERS_BADLY,
    )
