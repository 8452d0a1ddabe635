"""OpenVINO as a plug-in execution provider of the stock onnxruntime."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime_ep_openvino as openvino  # type: ignore[import-not-found]  # in the engine's own environment

Feed = dict[str, np.ndarray]


def load(job: dict[str, Any]) -> Callable[[Feed], Any]:
    """The worker's onnxruntime session with this provider; options: {"precision": "f32" or "bf16"}."""
    threads = str(job["threads"])
    config = {"CPU": {"INFERENCE_PRECISION_HINT": job["options"]["precision"], "INFERENCE_NUM_THREADS": threads}}
    provider = {
        "name": openvino.get_ep_name(),
        "library": openvino.get_library_path(),
        "options": {"load_config": json.dumps(config)},
    }
    return sys.modules["__main__"].load_onnxruntime({**job, "options": {"ep": provider}})
