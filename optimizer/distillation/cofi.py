"""CoFi's objective: the prediction, and hidden states whose partners are found anew in every step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from benchmarks.errors import TrimfitError
from optimizer.distillation.comparisons import state_mse
from optimizer.distillation.layer_pairs import Rule
from optimizer.distillation.objectives import LayerObjective, SoftTargets, loss
from optimizer.distillation.signals import Need, Signals

__all__ = ["CoFi", "closest"]


@dataclass(frozen=True)
class CoFi(LayerObjective):
    """L = lambda L_pred + (1 - lambda) L_layer.

    Xia, Zhong, Chen 2022, "Structured Pruning Learns Compact and Accurate Models", section 3.2: L_pred are soft
    targets; L_layer is the sum over some teacher layers i of MSE(W_layer H_s^m(i), H_t^i), where m(i) is the student
    layer that is closest at this step among those whose FFN is left. `prediction` is lambda, of 0.1, 0.3 and 0.5 that
    the authors try; `ordered` takes their code's other way: a lower teacher layer is never found above a higher one.
    """

    layers: Rule = "learned"
    rules: ClassVar[tuple[Rule, ...]] = (*LayerObjective.rules, "learned")
    prediction: float = 0.3
    temperature: float = 2.0
    ordered: bool = False
    needs: ClassVar[frozenset[Need]] = frozenset({"hidden"})
    projects: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.prediction <= 1:
            raise TrimfitError(f"got prediction {self.prediction:g}, expected a share in [0, 1]")
        SoftTargets(self.temperature)  # refuses a temperature of 0


@loss.register
def _(objective: CoFi, student: Signals, labels: torch.Tensor, teacher: Signals) -> torch.Tensor:
    if objective.layers == "learned":
        distances = torch.stack(
            [torch.stack([state_mse(H_S, H_T, student.mask) for H_S in student.hidden]) for H_T in teacher.hidden]
        )
        m = closest(distances.detach().mean(-1), ordered=objective.ordered)
        L_layer = distances[torch.arange(len(m)), m].sum(0)
    else:
        pairs = zip(student.hidden, teacher.hidden, strict=True)
        L_layer = torch.stack([state_mse(H_S, H_T, student.mask) for H_S, H_T in pairs]).sum(0)
    L_pred = loss(SoftTargets(objective.temperature, soft=1.0), student, labels, teacher)
    return objective.prediction * L_pred + (1 - objective.prediction) * L_layer


def closest(distances: torch.Tensor, *, ordered: bool = False) -> torch.Tensor:
    """m [T]: for each of T teacher layers the student layer of least distance, of distances [T, S].

    `ordered`: from the last teacher layer down, each below the one before it; where none is left, the same again.
    """
    if not ordered:
        return distances.argmin(dim=1)
    chosen: list[int] = []
    above = distances.shape[1]
    for row in distances.flip(0):
        above = int(row[:above].argmin()) if above else 0
        chosen.append(above)
    return torch.tensor(chosen[::-1], device=distances.device)
