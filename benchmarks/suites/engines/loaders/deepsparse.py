"""DeepSparse; options: {"inputs": names}."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

os.environ["NM_DISABLE_ANALYTICS"] = "1"  # read when it is imported: no event is sent anywhere
import deepsparse  # type: ignore[import-not-found]  # in the engine's own environment

Feed = dict[str, np.ndarray]


def load(job: dict[str, Any]) -> Callable[[Feed], Any]:
    """A function of a feed; the model has fixed shapes, so its batch is that of the file."""
    names = job["options"]["inputs"]
    engine = deepsparse.Engine(job["model"], batch_size=job["options"]["batch"], num_cores=job["threads"])
    return lambda feed: engine.run([np.ascontiguousarray(feed[name]) for name in names])
