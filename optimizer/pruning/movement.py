"""Movement: weights become zero that training drives towards zero, whatever their size. A Trainer callback.

Sanh, Wolf and Rush 2020, "Movement Pruning: Adaptive Sparsity by Fine-Tuning". A weight W whose mask M is 0 does not
count in the forward pass, W' = W M; its score goes on to change with dL/dW' (the straight-through estimator), so that
it may come back.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel, TrainerCallback

from optimizer.pruning.masks import grouped
from optimizer.pruning.parts import Part, all_parts, share_of
from optimizer.pruning.patterns import NOfM, Zeros
from optimizer.pruning.zeros import group_of, kept_mask

__all__ = ["Movement", "cubic", "moved"]

WARM_UP, DONE = 0.1, 0.7  # shares of the steps: before no zeros are added, after none either
_SCORES, _DENSE = "movement_scores", "movement_dense"


def moved(weight: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """What one step adds to the scores: -dL/dW' W, above 0 where the step takes a weight away from zero (section 4)."""
    return -gradient * weight


def cubic(done: float, start: float, end: float) -> float:
    """Share of zeros once this share of the steps is done: Zhu and Gupta 2017, eq. 1, from a warm-up to a cool-down."""
    left = min(1.0, max(0.0, (DONE - done) / (DONE - WARM_UP)))
    return end + (start - end) * left**3


class Movement(TrainerCallback):
    """Scores weights while they train, and has ever more of each part at zero, those of least score.

    Scores and the weights that wait behind zeros are buffers of the linear layers, so that checkpoints hold them, until
    `finish`. What is zero when training begins is never anything else.
    """

    def __init__(self, model: PreTrainedModel, pattern: Zeros) -> None:
        self.pattern = pattern
        self.linears = [(part, linear) for part in all_parts(model) for linear in part.linears.values()]
        self.starts = [float((linear.weight == 0).float().mean()) for _, linear in self.linears]
        self._kept: list[torch.Tensor] = []
        for _, linear in self.linears:
            linear.register_buffer(_SCORES, torch.zeros_like(linear.weight))
            linear.register_buffer(_DENSE, linear.weight.detach().clone())

    @torch.no_grad()
    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Score every weight, zero or not; only those that are not zero take the step."""
        self._kept = []
        for _part, linear in self.linears:
            weight, gradient = linear.weight, linear.weight.grad
            assert gradient is not None, "training reaches every linear layer"
            kept = weight != 0
            scores, dense = _buffers(linear)
            scores += moved(torch.where(kept, weight, dense), gradient)
            gradient.mul_(kept)
            self._kept.append(kept)

    @torch.no_grad()
    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Choose anew what is zero, as much as the schedule says by now."""
        for (part, linear), start, kept in zip(self.linears, self.starts, self._kept, strict=True):
            dense = _buffers(linear)[1]
            dense.copy_(torch.where(kept, linear.weight, dense))
            share = cubic(state.global_step / state.max_steps, start, share_of(part, self.pattern.shares))
            self._mask(part, linear, share)

    @torch.no_grad()
    def finish(self) -> None:
        """Leave the zeros that were asked for, by the scores as they are, and nothing but weights."""
        for part, linear in self.linears:
            dense = _buffers(linear)[1]
            dense.copy_(torch.where(linear.weight != 0, linear.weight, dense))
            self._mask(part, linear, share_of(part, self.pattern.shares))
            del linear.movement_scores, linear.movement_dense

    def _mask(self, part: Part, linear: nn.Linear, share: float) -> None:
        scores, dense = _buffers(linear)
        ranked = torch.where(_gone(dense, self.pattern), -torch.inf, torch.where(dense == 0, 0.0, scores))
        kept = kept_mask(ranked, self._at(share), share)
        linear.weight.copy_(torch.where(kept, dense, 0.0))

    def _at(self, share: float) -> Zeros:
        """Groups of n in m lose one weight after the other."""
        if not isinstance(self.pattern, NOfM):
            return self.pattern
        return self.pattern.times(share / self.pattern.sparsity)


def _buffers(linear: nn.Linear) -> tuple[torch.Tensor, torch.Tensor]:
    return getattr(linear, _SCORES), getattr(linear, _DENSE)


def _gone(dense: torch.Tensor, pattern: Zeros) -> torch.Tensor:
    """True at weights that were zero before and go first: single ones, or of blocks only whole ones."""
    group = group_of(pattern)
    if group == 1:
        return dense == 0
    left = grouped((dense != 0).float(), group)
    return (left == 0).repeat_interleave(group, dim=1)[:, : dense.shape[1]]
