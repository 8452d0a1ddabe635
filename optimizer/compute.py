"""Where models are trained and asked: a GPU where there is one, else this CPU."""

from __future__ import annotations

import ctypes
import os
from functools import lru_cache
from typing import TypeVar

import cpuinfo
import psutil
import torch
from torch import nn

from benchmarks.gpu.place import gpu_in_force

__all__ = [
    "CPU_VARIABLE",
    "finish",
    "free_memory",
    "keep_freed_memory",
    "on_training_device",
    "optimizer_seconds",
    "training_device",
    "trains_in_bf16",
]

CPU_VARIABLE = "ACCELERATE_USE_CPU"
"""Here: accelerate's own; "true" keeps training on the CPU beside a GPU."""
_BF16_CAPABILITY = (8, 0)  # Ampere; before it bf16 is emulated
_SECONDS_A_PARAMETER = {"cpu": 1e-9, "cuda": 2e-11}
"""AdamW reads and writes 7 floats a parameter: at 28 GB/s on a CPU, 1.4 TB/s on a GPU."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_NEVER = 2**31 - 1  # bytes

Module = TypeVar("Module", bound=nn.Module)


def training_device() -> torch.device:
    """The GPU that is measured, or else PyTorch's current one; the CPU where there is none, or it is asked for."""
    asked_for_cpu = os.environ.get(CPU_VARIABLE, "").lower() in ("1", "true", "yes", "on", "y", "t")
    if asked_for_cpu or not torch.cuda.is_available():
        return torch.device("cpu")
    place = gpu_in_force()
    return torch.device("cuda", torch.cuda.current_device() if place is None else place.index)


def on_training_device(model: Module) -> Module:
    """The model where it is trained and asked, which becomes PyTorch's current device: the Trainer goes by that."""
    if (device := training_device()).type == "cuda":
        torch.cuda.set_device(device)
    return model.to(device)


def trains_in_bf16() -> bool:
    """Whether bf16 is fast there: a GPU since Ampere, a CPU with AVX512-BF16 or AMX; elsewhere it is emulated."""
    device = training_device()
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= _BF16_CAPABILITY
    return _cpu_has_bf16()


@lru_cache(maxsize=1)
def _cpu_has_bf16() -> bool:
    flags = set(cpuinfo.get_cpu_info().get("flags", ()))
    return bool(flags & {"avx512_bf16", "amx_bf16"})


def free_memory() -> int:
    """Bytes that are free there."""
    device = training_device()
    return int(torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available)


def keep_freed_memory() -> bool:
    """Let the C library keep what this process frees, instead of giving it back to the system.

    glibc gives back every large tensor, and the next one pays for its pages again: a quarter of a training step of 64
    rows of 100 tokens, a tenth at 20 tokens. False where the C library has no such switch.
    """
    mallopt = None if os.name == "nt" else getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(what, _NEVER) for what in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD))


def finish() -> None:
    """Wait until it has done what it was told: a GPU goes on by itself."""
    if training_device().type == "cuda":
        torch.cuda.synchronize()


def optimizer_seconds(parameters: int) -> float:
    """What an update of so many parameters takes there."""
    return parameters * _SECONDS_A_PARAMETER[training_device().type]
