"""Imitation: a student in training beside what it imitates; the module that the Trainer trains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from benchmarks.errors import TrimfitError
from optimizer.architecture import Architecture
from optimizer.distillation.layer_pairs import Places, pair_up
from optimizer.distillation.objectives import LayerObjective, loss, stages
from optimizer.distillation.rows import ALL_ROWS, RowRule, weights
from optimizer.distillation.signals import Need, Signals, collect
from optimizer.encoders import walk
from optimizer.inference import autocast, without_autocast
from optimizer.surgery import SurgeryReport

__all__ = ["Imitation", "check_teacher", "stage_at"]

_STATES: tuple[Need, ...] = ("embedding", "hidden")


class Imitation(nn.Module):
    """A student and, where its objective compares layers, the teacher beside it; called with a batch it gives the loss.

    Its parameters are the student's and those of the projections, matrices [student's width, teacher's width] that are
    trained along and thrown away. The teacher is no part of it: it is put into evaluation mode and stays as it is.

    Args:
        objective: see `objectives`.
        student: a classifier; trained in place.
        teacher: needed by an objective that needs more than logits.
        origin: what the student kept of the teacher, where that is known.
        rows: by which rows may count more than others.

    Raises TrimfitError when the objective cannot compare these two models.
    """

    def __init__(
        self,
        objective: Any,
        student: PreTrainedModel,
        teacher: PreTrainedModel | None = None,
        origin: SurgeryReport | None = None,
        rows: RowRule = ALL_ROWS,
    ) -> None:
        super().__init__()
        self.objective, self.student, self.rows = objective, student, rows
        self.places, self.projections = Places(), nn.ModuleDict()
        if not objective.needs:
            return
        if teacher is None:
            raise ValueError(f"{type(objective).__name__} compares layers: give the teacher as well")
        check_teacher(objective, teacher)
        there = next(student.parameters()).device
        teacher = teacher.to(there)
        mine, theirs = Architecture.of(student), Architecture.of(teacher)
        if mine.vocab_size != theirs.vocab_size:
            raise TrimfitError(
                f"got a student of {mine.vocab_size} tokens and a teacher of {theirs.vocab_size}, expected the same "
                "vocabulary: use the objective soft-targets, which needs only the teacher's logits"
            )
        self.places, places = pair_up(objective.layers, mine, theirs, origin, by_head=objective.by_head)
        self._ask = partial(
            _answers, teacher.eval(), objective.needs, places
        )  # partial: no submodule, not in a checkpoint
        dimensions = origin.dimensions if origin is not None else None
        if objective.projects or mine.hidden_size != theirs.hidden_size:
            for name in _STATES:
                if name in objective.needs:
                    self.projections[name] = _projection(mine.hidden_size, theirs.hidden_size, dimensions).to(there)

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        labels: torch.Tensor,
        teacher_logits: torch.Tensor | None = None,
        share: float = 0.0,
    ) -> torch.Tensor:
        """The loss, mean over rows as they count, at a `share` of the training's steps.

        It is computed inside the module, so that distributed training sees every parameter that it depends on.
        """
        objective = stage_at(self.objective, share)
        student = collect(self.student, input_ids, attention_mask, objective.needs, self.places)
        teacher = None if teacher_logits is None else Signals(teacher_logits, attention_mask)
        if objective.needs:
            teacher = self._ask(input_ids, attention_mask)
            if teacher_logits is not None:
                teacher = replace(teacher, logits=teacher_logits)
        with without_autocast():
            values = loss(objective, self._projected(student), labels, teacher)
            counting = None if teacher is None else weights(self.rows, student.logits.detach(), labels, teacher.logits)
            if counting is None:
                return values.mean()
            return (counting * values).sum() / counting.sum().clamp(min=torch.finfo(counting.dtype).tiny)

    def _projected(self, student: Signals) -> Signals:
        if student.embedding is not None and "embedding" in self.projections:
            student = replace(student, embedding=self.projections["embedding"](student.embedding))
        if student.hidden and "hidden" in self.projections:
            student = replace(student, hidden=tuple(map(self.projections["hidden"], student.hidden)))
        return student


def stage_at(objective: Any, share: float) -> Any:
    """The objective in force at a share of the steps."""
    return next((stage for until, stage in stages(objective) if share < until), stages(objective)[-1][1])


def check_teacher(objective: Any, teacher: PreTrainedModel) -> None:
    """Raise TrimfitError when the objective cannot read this teacher: attention that positions are part of."""
    kind = getattr(walk(teacher).module.config, "position_embedding_type", "absolute")
    if isinstance(objective, LayerObjective) and objective.by_head and kind != "absolute":
        raise TrimfitError(
            f"got a model with {kind} position embeddings, expected absolute ones for {type(objective).__name__}, "
            "which reads attention off queries and keys: use minilmv2 or soft-targets"
        )


@torch.no_grad()
def _answers(
    teacher: PreTrainedModel,
    needs: frozenset[Need],
    places: Places,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
) -> Signals:
    with autocast():
        return collect(teacher, input_ids, attention_mask, needs, places)


def _projection(width: int, teacher_width: int, dimensions: Sequence[int] | None = None) -> nn.Linear:
    """Without bias; it starts as the identity, or between two widths as a rotation into the other.

    A student that kept these of the teacher's `dimensions` starts with each of them in its old place.
    """
    linear = nn.Linear(width, teacher_width, bias=False)
    if width == teacher_width:
        nn.init.eye_(linear.weight)
    elif dimensions is not None:
        linear.weight.data = torch.eye(teacher_width)[:, list(dimensions)]
    else:
        nn.init.orthogonal_(linear.weight, generator=torch.Generator().manual_seed(0))
    return linear
