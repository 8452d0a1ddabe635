"""Comparisons: how far a student's tensors are from its teacher's, over real tokens only, for every row.

Pure formulas that several objectives share. Padding takes no part: a row's value is a mean over its own tokens.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

__all__ = ["attention_scores", "cosine_distance", "relation_divergence", "relation_heads", "score_mse", "state_mse"]


def state_mse(H_S: torch.Tensor, H_T: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean squared error [n] of states [n, t, d] over real tokens and d."""
    return _over_tokens(F.mse_loss(H_S, H_T, reduction="none").mean(-1), mask)


def cosine_distance(H_S: torch.Tensor, H_T: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """1 - cos(H_S, H_T) [n] of states [n, t, d], mean over real tokens."""
    return _over_tokens(1 - F.cosine_similarity(H_S, H_T, dim=-1), mask)


def attention_scores(Q: torch.Tensor, K: torch.Tensor) -> torch.Tensor:
    """Q K^T / sqrt(d_k) [n, heads, t, t] of [n, heads, t, d_k].

    Vaswani et al. 2017, "Attention Is All You Need", eq. 1, before the softmax.
    """
    return Q @ K.transpose(-1, -2) / Q.shape[-1] ** 0.5


def score_mse(A_S: torch.Tensor, A_T: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean squared error [n] of scores [n, heads, t, t] over heads and pairs of real tokens."""
    by_query = (F.mse_loss(A_S, A_T, reduction="none").mean(1) * mask[:, None, :]).sum(-1) / mask.sum(-1, keepdim=True)
    return _over_tokens(by_query, mask)


def relation_divergence(S_S: torch.Tensor, S_T: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """KL(softmax(S_T) || softmax(S_S)) [n] of scores [n, heads, t, t], over real keys.

    The mean over heads and real queries: 1 / (A_h |x|) of MiniLM's sums.
    """
    padded = mask[:, None, None, :] == 0
    lowest = torch.finfo(S_S.dtype).min
    mine, theirs = (F.log_softmax(S.masked_fill(padded, lowest), dim=-1) for S in (S_S, S_T))
    divergence = F.kl_div(mine, theirs, reduction="none", log_target=True).sum(-1)  # [n, heads, t]
    return _over_tokens(divergence.mean(1), mask)


def relation_heads(X: torch.Tensor, A_r: int) -> torch.Tensor:
    """Vectors of all heads [n, heads, t, d] concatenated and split anew into [n, A_r, t, heads d / A_r]."""
    return X.transpose(1, 2).flatten(2).unflatten(-1, (A_r, -1)).transpose(1, 2)


def _over_tokens(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean [n] of values [n, t] over real tokens."""
    return (values * mask).sum(-1) / mask.sum(-1)
