"""Logits of a PyTorch classifier over encoded rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import torch

from optimizer.compute import training_device, trains_in_bf16
from optimizer.encoding import Encoded

__all__ = ["BATCH_SIZE", "autocast", "evaluating", "predict", "trains_in_bf16", "without_autocast"]

BATCH_SIZE = 64


def autocast() -> AbstractContextManager[Any]:
    """bf16 autocast where it is fast, else a context that does nothing."""
    return torch.autocast(training_device().type, torch.bfloat16, enabled=trains_in_bf16())


def without_autocast() -> AbstractContextManager[Any]:
    """fp32 again where `autocast` surrounds it: losses are sums that bf16 would round."""
    return torch.autocast(training_device().type, enabled=False)


@contextmanager
def evaluating(module: torch.nn.Module) -> Iterator[None]:
    """Without dropout meanwhile; then as before."""
    was_training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(was_training)


@torch.no_grad()
def predict(
    model: torch.nn.Module,
    encoded: Encoded,
    *,
    exact: bool = True,
    advance: Callable[[float], None] = lambda share: None,
) -> np.ndarray:
    """Logits [rows, classes] in the order of the rows.

    Args:
        exact: compute in fp32; otherwise in bf16 where that is faster (good enough for soft targets).
        advance: told the share of rows done.
    """
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    logits: np.ndarray | None = None
    done = 0
    with torch.autocast(device.type, enabled=False) if exact else autocast():
        for rows, batch in encoded.buckets(BATCH_SIZE):
            output = model(batch["input_ids"].to(device), attention_mask=batch["attention_mask"].to(device)).logits
            if logits is None:
                logits = np.zeros((len(encoded), output.shape[-1]), dtype=np.float32)
            logits[rows] = output.float().cpu().numpy()
            done += len(rows)
            advance(done / len(encoded))
    model.train(was_training)
    return logits if logits is not None else np.zeros((0, 0), dtype=np.float32)
