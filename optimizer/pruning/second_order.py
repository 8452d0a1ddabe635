"""Second-order removal of weights: which a layer misses least, and how the others make up for them. Pure functions.

A linear layer's outputs X W^T on calibration rows change by tr(D H D^T) when its weights change by D, with H = X^T X,
the same for every output. Losing weight j alone costs w_j^2 / [H^-1]_jj (Optimal Brain Surgeon, Hassibi and Stork
1993, eq. 5). Weights go in strides, and after each those left become the least-squares solution that they allow, as in
Boza 2024, "Fast and Effective Weight Update for Pruned Large Language Models"; here by conjugate gradients.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F

from optimizer.pruning.masks import least, n_of_m_mask

__all__ = ["DAMPING", "damped", "least_squares", "output_error", "removals", "remove", "remove_n_of_m"]

DAMPING = 0.01  # of the mean of H's diagonal, added to it: calibration rows that are few leave H singular
STRIDES = 4  # three times as many lower the divergence by another 5 to 20 %, in twice the time
ITERATIONS = 30
ROUGH_ITERATIONS = 8  # before the last stride: enough to tell which weights to drop next
TOLERANCE = 1e-3  # of the residual, against that of no weights at all


def damped(hessian: torch.Tensor, damping: float = DAMPING) -> torch.Tensor:
    """H + damping mean(diag H) I, or I where H is zero."""
    mean = float(hessian.diagonal().mean())
    return hessian + (damping * mean if mean > 0 else 1.0) * torch.eye(
        len(hessian), dtype=hessian.dtype, device=hessian.device
    )


def remove(
    weight: torch.Tensor, hessian: torch.Tensor, sparsity: float, group: int = 1, strides: int = STRIDES
) -> torch.Tensor:
    """The weight [outputs, inputs] with this share of it zero and the rest moved so that outputs change least.

    The share of zeros grows by the cubic schedule of Zhu and Gupta 2017, eq. 1, from what is zero already.

    Args:
        hessian: positive definite H [inputs, inputs], see `damped`.
        sparsity: share of the groups to drop; what is zero already goes first.
        group: neighbouring inputs of an output that go together; a group costs the sum of what its members cost.
    """
    original = weight.detach().float()
    inverse = torch.linalg.inv(hessian.double()).diagonal().float()
    w, start = original, float((_costs(original, inverse, group) == 0).float().mean())
    sparsity = max(sparsity, start)
    for stride in range(strides):
        share = sparsity - (sparsity - start) * (1 - (stride + 1) / strides) ** 3
        keep = _cheapest_gone(w, inverse, share, group)
        w = least_squares(original, hessian, keep, w, ITERATIONS if stride == strides - 1 else ROUGH_ITERATIONS)
    return w.to(weight.dtype)


def removals(
    weight: torch.Tensor, hessian: torch.Tensor, sparsities: Sequence[float], group: int = 1
) -> Iterator[torch.Tensor]:
    """The weight at each of these rising shares of zeros in turn, each cut on from the one before as `remove` does.

    What is zero already stays zero, be that more than a share asks for.
    """
    original = weight.detach().float()
    inverse = torch.linalg.inv(hessian.double()).diagonal().float()
    w, start = original, float((_costs(original, inverse, group) == 0).float().mean())
    for share in sparsities:
        w = least_squares(original, hessian, _cheapest_gone(w, inverse, max(start, share), group), w)
        yield w.to(weight.dtype)


def remove_n_of_m(weight: torch.Tensor, hessian: torch.Tensor, n: int, m: int) -> torch.Tensor:
    """The weight with n of every m consecutive inputs left, moved so that outputs change least.

    As SparseGPT does (Frantar and Alistarh 2023, section 3.3), but one weight of every group at a time: those left make
    up for it before the next one is chosen. What is zero already goes first.
    """
    original = weight.detach().float()
    inverse = torch.linalg.inv(hessian.double()).diagonal().float()
    w = original
    for left in range(m - 1, n - 1, -1):
        keep = n_of_m_mask(_costs(w, inverse, 1), left, m) & (original != 0)
        w = least_squares(original, hessian, keep, w, ITERATIONS if left == n else ROUGH_ITERATIONS)
    return w.to(weight.dtype)


def output_error(before: torch.Tensor, after: torch.Tensor, hessian: torch.Tensor) -> float:
    """tr(D H D^T) with D = after - before: how much a layer's outputs change, summed over outputs, a token."""
    change = after.detach().float() - before.detach().float()
    return float(((change @ hessian) * change).sum())


def least_squares(
    original: torch.Tensor,
    hessian: torch.Tensor,
    keep: torch.Tensor,
    start: torch.Tensor,
    iterations: int = ITERATIONS,
) -> torch.Tensor:
    """W, zero outside `keep`, that makes tr((W - original) H (W - original)^T) least; all matrices [outputs, inputs].

    Conjugate gradients with H's diagonal as preconditioner, every output on its own, from `start`: Nocedal and Wright
    2006, algorithm 5.3.
    """
    diagonal = hessian.diagonal()
    w = torch.where(keep, start, 0.0)
    r = torch.where(keep, (original - w) @ hessian, 0.0)
    y = r / diagonal
    p, ry = y, (r * y).sum(dim=1, keepdim=True)
    whole = torch.where(keep, original @ hessian, 0.0)
    enough = TOLERANCE**2 * (whole.square() / diagonal).sum(dim=1, keepdim=True)
    for _ in range(iterations):
        if bool((ry <= enough).all()):
            break
        ap = torch.where(keep, p @ hessian, 0.0)
        alpha = ry / (p * ap).sum(dim=1, keepdim=True).clamp_min(torch.finfo(ry.dtype).tiny)
        w = w + alpha * p
        r = r - alpha * ap
        y = r / diagonal
        before, ry = ry, (r * y).sum(dim=1, keepdim=True)
        p = y + ry / before.clamp_min(torch.finfo(ry.dtype).tiny) * p
    return w


def _cheapest_gone(w: torch.Tensor, inverse: torch.Tensor, share: float, group: int) -> torch.Tensor:
    """True at the weights that stay [outputs, inputs] when this share of the groups goes, those of least cost."""
    costs = _costs(w, inverse, group)
    gone = least(costs, round(share * costs.numel()))
    return ~gone.repeat_interleave(group, dim=1)[:, : w.shape[1]]


def _costs(w: torch.Tensor, inverse: torch.Tensor, group: int) -> torch.Tensor:
    """What losing each group costs [outputs, groups]."""
    costs = F.pad(w.square() / inverse, (0, -w.shape[1] % group))
    return costs.reshape(len(w), -1, group).sum(dim=2)
