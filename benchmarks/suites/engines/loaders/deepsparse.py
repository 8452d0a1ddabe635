"""DeepSparse; options: {"inputs": names}."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import deepsparse  # type: ignore[import-not-found]  # in the engine's own environment
import numpy as np

Feed = dict[str, np.ndarray]


def load(job: dict[str, Any]) -> Callable[[Feed], Any]:
    """A function of a feed; the model has fixed shapes, so its batch is that of the file."""
    names = job["options"]["inputs"]
    engine = deepsparse.Engine(job["model"], batch_size=job["options"]["batch"], num_cores=job["threads"])
    return lambda feed: engine.run([np.ascontiguousarray(feed[name]) for name in names])
