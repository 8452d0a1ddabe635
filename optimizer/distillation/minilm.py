"""MiniLM's objectives: how tokens relate to each other in the last layer's attention, beside soft targets.

Both papers distil without a task and fine-tune afterwards; here there is one from the start, and the attention of the
last layer alone would never train what follows it: soft targets train the rest of the model at the same time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch

from benchmarks.errors import TrimfitError
from optimizer.distillation.comparisons import attention_scores, relation_divergence, relation_heads
from optimizer.distillation.layer_pairs import Rule
from optimizer.distillation.objectives import LayerObjective, SoftTargets, loss, require_weights
from optimizer.distillation.signals import Need, Signals

__all__ = ["MiniLM", "MiniLMv2"]


@dataclass(frozen=True)
class MiniLM(LayerObjective):
    """L = soft targets + attention L_AT + values L_VR.

    Wang et al. 2020, "MiniLM: Deep Self-Attention Distillation", sections 3.1 and 3.2: L_AT is the divergence of the
    attention distributions, L_VR that of the value relations softmax(V V^T / sqrt(d_k)), mean over heads and tokens,
    both of the last layer, both of weight 1. The student has as many heads there, or kept them from the teacher: then
    each is compared with the one it was.
    """

    layers: Rule = "top"
    attention: float = 1.0
    values: float = 1.0
    response: SoftTargets = field(default_factory=SoftTargets)
    needs: ClassVar[frozenset[Need]] = frozenset({"queries", "keys", "values"})
    by_head: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require_weights(attention=self.attention, values=self.values)


@dataclass(frozen=True)
class MiniLMv2(LayerObjective):
    """L = soft targets + sum of alpha_i L_i for the relations of queries, of keys and of values.

    Wang et al. 2021, "MiniLMv2: Multi-Head Self-Attention Relation Distillation", section 3.1: vectors of all heads are
    concatenated and split into A_r relation heads, 48 for teachers of base size, and each relation is
    softmax(X X^T / sqrt(d_r)). Widths and numbers of heads may differ: A_r is the largest number up to `relation_heads`
    that divides both widths. alpha_i are `queries`, `keys` and `values`, 1 each.
    """

    layers: Rule = "top"
    relation_heads: int = 48
    queries: float = 1.0
    keys: float = 1.0
    values: float = 1.0
    response: SoftTargets = field(default_factory=SoftTargets)
    needs: ClassVar[frozenset[Need]] = frozenset({"queries", "keys", "values"})

    def __post_init__(self) -> None:
        super().__post_init__()
        require_weights(queries=self.queries, keys=self.keys, values=self.values)
        if self.relation_heads < 1:
            raise TrimfitError(f"got {self.relation_heads} relation heads, expected at least 1")

    def heads_between(self, width: int, other: int) -> int:
        """A_r for two widths (heads times head size)."""
        common = math.gcd(width, other)
        return max(d for d in range(1, min(common, self.relation_heads) + 1) if common % d == 0)


@loss.register
def _(objective: MiniLM, student: Signals, labels: torch.Tensor, teacher: Signals) -> torch.Tensor:
    L = loss(objective.response, student, labels, teacher)
    mine, theirs = (zip(s.queries, s.keys, s.values, strict=True) for s in (student, teacher))
    pairs = list(zip(mine, theirs, strict=True))
    for (Q_S, K_S, V_S), (Q_T, K_T, V_T) in pairs:
        L_AT = relation_divergence(attention_scores(Q_S, K_S), attention_scores(Q_T, K_T), student.mask)
        L_VR = relation_divergence(attention_scores(V_S, V_S), attention_scores(V_T, V_T), student.mask)
        L = L + (objective.attention * L_AT + objective.values * L_VR) / len(pairs)
    return L


@loss.register
def _(objective: MiniLMv2, student: Signals, labels: torch.Tensor, teacher: Signals) -> torch.Tensor:
    L = loss(objective.response, student, labels, teacher)
    for name in ("queries", "keys", "values"):
        alpha = getattr(objective, name)
        pairs = list(zip(getattr(student, name), getattr(teacher, name), strict=True))
        for X_S, X_T in pairs:
            A_r = objective.heads_between(_width(X_S), _width(X_T))
            R_S, R_T = (relation_heads(X, A_r) for X in (X_S, X_T))
            L_i = relation_divergence(attention_scores(R_S, R_S), attention_scores(R_T, R_T), student.mask)
            L = L + alpha * L_i / len(pairs)
    return L


def _width(X: torch.Tensor) -> int:
    """Of [n, heads, t, head size]."""
    return X.shape[1] * X.shape[3]
