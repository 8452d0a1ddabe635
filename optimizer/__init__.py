"""What should we do about it: decide, distil, prune, export, and prove it on the device.

The heavy parts (torch, transformers) are imported when they are first used, so that `trimfit --help` and the report
stay quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optimizer.advice import advise
    from optimizer.api import optimize
    from optimizer.deployment import Deployment
    from optimizer.distillation.black_box import Endpoint
    from optimizer.mobile import add_mobile
    from optimizer.model_folder import load
    from optimizer.target import LatencyMs, MaxDrop, Speedup

__all__ = ["Deployment", "Endpoint", "LatencyMs", "MaxDrop", "Speedup", "add_mobile", "advise", "load", "optimize"]

_HOMES = {
    "Deployment": "optimizer.deployment",
    "Endpoint": "optimizer.distillation.black_box",
    "LatencyMs": "optimizer.target",
    "MaxDrop": "optimizer.target",
    "Speedup": "optimizer.target",
    "add_mobile": "optimizer.mobile",
    "advise": "optimizer.advice",
    "load": "optimizer.model_folder",
    "optimize": "optimizer.api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'optimizer' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
