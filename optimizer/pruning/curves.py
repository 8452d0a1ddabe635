"""BlockCurve: what a model loses when one block of it is narrower, measured on calibration rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedModel

from optimizer.encoders import walk
from optimizer.encoding import Encoded
from optimizer.inference import predict
from optimizer.pruning.stream import Stream
from optimizer.scoring import divergence_of

__all__ = ["BlockCurve", "Probe", "curve_rows", "divergence", "measured_curve"]

CURVE_SHARES = (0.0, 0.33, 0.66)  # of a block's units kept, where its curve is measured; 1 costs nothing
CURVE_ROWS = 256  # of the calibration rows, on which divergences of a 6-layer model are measured
LEAST_CURVE_ROWS = 64  # of a deeper one, which has more blocks that each take longer


@dataclass(frozen=True)
class BlockCurve:
    """Measured loss increase (nats a row) of one block when only its `widths` most important units are kept, alone."""

    widths: np.ndarray
    losses: np.ndarray

    def loss(self, width: int) -> float:
        """The increase at `width` units, linear between measured widths."""
        return float(np.interp(width, self.widths, self.losses))

    def following(self, errors: np.ndarray) -> BlockCurve:
        """The curve at every width: between measured ones the loss rises evenly with `errors` instead of the width.

        Args:
            errors: of the block's own output [units + 1], in any unit, falling with width.
        """
        measured = errors[self.widths.astype(int)]
        return BlockCurve(np.arange(len(errors), dtype=float), np.interp(errors, measured[::-1], self.losses[::-1]))


def measured_curve(units: int, loss_at: Callable[[int], float]) -> BlockCurve:
    """The curve of a block of so many units, from the loss increase `loss_at` a few widths; never less at fewer."""
    widths, losses = [units], [0.0]
    for share in reversed(CURVE_SHARES):
        width = round(share * units)
        if width < widths[-1]:
            losses.append(max(losses[-1], loss_at(width)))
            widths.append(width)
    return BlockCurve(np.array(widths[::-1], dtype=float), np.array(losses[::-1]))


def curve_rows(model: PreTrainedModel, calibration: Encoded) -> Encoded:
    """The calibration rows on which divergences are measured: the same ones every time, fewer for deep models."""
    depth = len(walk(model).layers)
    return calibration.sample(max(LEAST_CURVE_ROWS, CURVE_ROWS * 6 // max(6, depth)), seed=1)


def divergence(model: PreTrainedModel, rows: Encoded) -> float:
    """KL(teacher || model) in nats a row."""
    assert rows.teacher_logits is not None
    return divergence_of(rows.teacher_logits, predict(model, rows, exact=False))


class Probe:
    """The divergence of a model whose layers are looked at first to last, each changed alone and then as it was.

    What the layers before the one that is reached give is kept, so that half of them run on average.
    """

    def __init__(self, model: PreTrainedModel, rows: Encoded) -> None:
        self._model, self._rows, self._stream, self._reached = model, rows, Stream(model, rows), 0

    def divergence(self) -> float:
        """KL(teacher || model) in nats a row, if no layer before the one that is reached was changed."""
        assert self._rows.teacher_logits is not None
        return divergence_of(self._rows.teacher_logits, self._stream.logits(self._model, self._reached).cpu().numpy())

    def advance(self) -> None:
        """On to the next layer."""
        self._stream.advance(walk(self._model).layers[self._reached])
        self._reached += 1
