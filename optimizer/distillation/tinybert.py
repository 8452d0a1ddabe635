"""TinyBERT's objective: embeddings, hidden states and attention scores first, then the prediction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from benchmarks.errors import TrimfitError
from optimizer.distillation.comparisons import attention_scores, score_mse, state_mse
from optimizer.distillation.layer_pairs import Rule
from optimizer.distillation.objectives import LayerObjective, SoftTargets, loss, require_weights, stages
from optimizer.distillation.signals import Need, Signals

__all__ = ["TinyBert"]


@dataclass(frozen=True)
class TinyBert(LayerObjective):
    """Two steps: L = sum over the layers of lambda_m L_layer without the prediction, then L_pred alone.

    Jiao et al. 2020, "TinyBERT: Distilling BERT for Natural Language Understanding", eq. 6 to 11, task-specific
    distillation. `embedding`, `hidden` and `attention` are lambda_m of L_embd (eq. 9), L_hidn (eq. 8) and L_attn
    (eq. 7), all 1 there. The prediction's cross entropy (eq. 10) is soft targets alone at `temperature`, but for the
    teacher's entropy, which has no gradient. `first_step` is the share of the steps that goes to the layers; there it
    is 20 epochs of 23. A pruned student is compared with what it was cut from; the paper's g(m) is the rule "uniform".
    """

    layers: Rule = "origins"
    embedding: float = 1.0
    hidden: float = 1.0
    attention: float = 1.0
    temperature: float = 1.0
    first_step: float = 0.5
    needs: ClassVar[frozenset[Need]] = frozenset({"embedding", "hidden", "queries", "keys"})
    by_head: ClassVar[bool] = True
    projects: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require_weights(embedding=self.embedding, hidden=self.hidden, attention=self.attention)
        if not 0 < self.first_step < 1:
            raise TrimfitError(f"got first_step {self.first_step:g}, expected a share between 0 and 1")
        SoftTargets(self.temperature)  # refuses a temperature of 0


@stages.register
def _(objective: TinyBert) -> tuple[tuple[float, TinyBert], tuple[float, SoftTargets]]:
    return (objective.first_step, objective), (1.0, SoftTargets(objective.temperature, soft=1.0))


@loss.register
def _(objective: TinyBert, student: Signals, labels: torch.Tensor, teacher: Signals) -> torch.Tensor:
    assert student.embedding is not None
    assert teacher.embedding is not None
    mask = student.mask
    L = objective.embedding * state_mse(student.embedding, teacher.embedding, mask)
    for H_S, H_T in zip(student.hidden, teacher.hidden, strict=True):
        L = L + objective.hidden * state_mse(H_S, H_T, mask)
    queries, keys = (zip(getattr(student, name), getattr(teacher, name), strict=True) for name in ("queries", "keys"))
    for (Q_S, Q_T), (K_S, K_T) in zip(queries, keys, strict=True):
        L = L + objective.attention * score_mse(attention_scores(Q_S, K_S), attention_scores(Q_T, K_T), mask)
    return L
