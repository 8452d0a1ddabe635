"""Rescue: linear layers go back to fp32 until a quantised model scores as it did before it was quantised."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from transformers import PreTrainedModel

from benchmarks.onnx_file import load_graph
from hardware_profiles.runtimes import Runtime
from optimizer.artefact import CALIBRATION_ROWS, Artefact, feeds, logits_of
from optimizer.encoding import Encoded
from optimizer.float_choice import growing, is_lost, most_harmful
from optimizer.float_layers import FloatLayers, LinearGroup
from optimizer.inference import predict
from optimizer.linear_groups import node_names, weights_of
from optimizer.scoring import divergence_of, score

__all__ = ["Quantised", "rescue"]

SENSITIVITY_ROWS = 256
MOST_SHARE = 0.5  # of the groups: a model with more of them in fp32 is hardly an int8 one


@dataclass(frozen=True)
class Quantised:
    """A model in fp32 as ONNX, and all it takes to make a precision of it: the runtime, rows, and how it is scored."""

    model: PreTrainedModel
    fp32: Path
    runtime: Runtime
    precision: str
    calibration: Encoded
    metric: str
    batch_size: int

    def make(self, target: Path, groups: Collection[LinearGroup]) -> Path:
        """Write the precision with these groups in fp32."""
        names = node_names(self.model, load_graph(self.fp32), groups)
        rows = feeds(self.fp32, self.calibration.sample(CALIBRATION_ROWS, seed=0))
        return self.runtime.prepare(self.fp32, self.precision, target, calibration=rows, keep_fp32=names)

    def logits(self, path: Path, rows: Encoded) -> np.ndarray:
        """What the runtime answers [rows, classes]."""
        return logits_of(self.runtime, path, rows, self.batch_size)

    def gains(self, scratch: Path, start: Collection[LinearGroup]) -> dict[LinearGroup, float]:
        """Nats a row by which the answers come closer to the fp32 model's when one more group is in fp32."""
        rows = self.calibration.sample(SENSITIVITY_ROWS, seed=1)
        expected = predict(self.model, rows)

        def distance(groups: Collection[LinearGroup]) -> float:
            return divergence_of(expected, self.logits(self.make(scratch, groups), rows))

        before = distance(start)
        return {group: before - distance((*start, group)) for group in weights_of(self.model) if group not in start}


def rescue(
    quantised: Quantised,
    artefact: Artefact,
    dev: Encoded,
    *,
    expected: np.ndarray | None = None,
    known: Collection[LinearGroup] = (),
) -> tuple[Artefact, np.ndarray]:
    """The artefact, with layers in fp32 where it lost score without, and its logits [rows, classes] on `dev`.

    Args:
        quantised: what the artefact is of.
        artefact: at the precision, with nothing in fp32.
        dev: rows to score.
        expected: logits of the fp32 model on `dev`; None asks it.
        known: groups that a similar model needed; tried first.

    Of a few sets, the first with which the score is back within `is_lost`; else the one that scores best.
    """
    logits = quantised.logits(artefact.path, dev)
    if not quantised.precision.startswith("int8"):  # others are of one piece
        return artefact, logits
    expected = predict(quantised.model, dev) if expected is None else expected
    if not is_lost(dev.labels, expected, logits, quantised.metric):
        return artefact, logits

    def dev_score(answers: np.ndarray) -> float:
        return score(dev.labels, answers, quantised.metric)

    without = dev_score(logits)
    scratch = artefact.path.with_name(f"{artefact.path.stem}-trial{artefact.path.suffix}")
    best: tuple[LinearGroup, ...] = ()
    for groups in _sets(quantised, scratch, known):
        answers = quantised.logits(quantised.make(scratch, groups), dev)
        if dev_score(answers) > dev_score(logits):
            best, logits = groups, answers
        if not is_lost(dev.labels, expected, answers, quantised.metric):
            break
    for file in scratch.parent.glob(f"{scratch.name}*"):
        file.unlink()
    if not best:
        return artefact, logits
    path = quantised.make(artefact.path.with_name(f"{artefact.path.stem}-mixed{artefact.path.suffix}"), best)
    return replace(
        artefact, path=path, float_layers=FloatLayers(groups=best, dev_without=without, dev_with=dev_score(logits))
    ), logits


def _sets(quantised: Quantised, scratch: Path, known: Collection[LinearGroup]) -> Iterator[tuple[LinearGroup, ...]]:
    """The known groups, then these and ever more of those that hurt most; measured only once they are asked for."""
    if known:
        yield tuple(known)
    weights = weights_of(quantised.model)
    order = most_harmful(quantised.gains(scratch, known), weights)
    for more in growing(order, int(MOST_SHARE * len(weights)) - len(known)):
        yield (*known, *more)
