"""DistilBERT's objective: soft targets, the direction of the hidden states, and the task."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar

import torch
from transformers import PreTrainedModel

from optimizer.architecture import Architecture
from optimizer.distillation.comparisons import cosine_distance
from optimizer.distillation.layer_pairs import Rule, spread
from optimizer.distillation.objectives import CrossEntropy, LayerObjective, SoftTargets, loss, require_weights
from optimizer.distillation.signals import Need, Signals
from optimizer.surgery import LayerPlan, SurgeryReport, keep

__all__ = ["DistilBert", "shallow_student"]


@dataclass(frozen=True)
class DistilBert(LayerObjective):
    """L = alpha_ce L_ce + alpha_task L_task + alpha_cos L_cos.

    Sanh et al. 2019, "DistilBERT, a distilled version of BERT", section 2: soft targets at `temperature`, the task's
    own loss (there masked words, here labels), and the cosine between the last hidden states. The paper names no
    weights; these are those of the authors' published recipe.
    """

    layers: Rule = "top"
    temperature: float = 2.0
    alpha_ce: float = 5.0
    alpha_task: float = 2.0
    alpha_cos: float = 1.0
    needs: ClassVar[frozenset[Need]] = frozenset({"hidden"})

    def __post_init__(self) -> None:
        super().__post_init__()
        require_weights(alpha_ce=self.alpha_ce, alpha_task=self.alpha_task, alpha_cos=self.alpha_cos)
        SoftTargets(self.temperature)  # refuses a temperature of 0


@loss.register
def _(objective: DistilBert, student: Signals, labels: torch.Tensor, teacher: Signals) -> torch.Tensor:
    pairs = zip(student.hidden, teacher.hidden, strict=True)
    L_cos = torch.stack([cosine_distance(H_S, H_T, student.mask) for H_S, H_T in pairs]).mean(0)
    L_ce = loss(SoftTargets(objective.temperature, soft=1.0), student, labels, teacher)
    L_task = loss(CrossEntropy(), student, labels, None)
    return objective.alpha_ce * L_ce + objective.alpha_task * L_task + objective.alpha_cos * L_cos


def shallow_student(teacher: PreTrainedModel, depth: int) -> tuple[PreTrainedModel, SurgeryReport]:
    """A copy of the teacher with `depth` of its layers at even distances, and what it kept.

    Sanh et al. 2019, section 3: a student starts from one of the teacher's layers out of two.
    """
    shape = Architecture.of(teacher)
    taken = spread(depth, shape.depth)
    whole = [LayerPlan(heads=tuple(range(layer.heads)), ffn=tuple(range(layer.ffn))) for layer in shape.layers]
    return keep(copy.deepcopy(teacher), [plan if i in taken else None for i, plan in enumerate(whole)])
