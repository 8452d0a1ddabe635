"""Moments: means and covariances of what a linear layer reads and is to give, gathered batch by batch."""

from __future__ import annotations

import torch

__all__ = ["Moments"]


class Moments:
    """Of inputs x [tokens, inputs] and, where there are some, wanted outputs t [tokens, outputs].

    Sums are of what is left after the means of the first batch: inputs may vary little beside their mean.
    """

    def __init__(self, inputs: int, outputs: int = 0) -> None:
        self.tokens = 0
        self._x0, self._t0 = torch.zeros(inputs), torch.zeros(outputs)
        self._x, self._t = torch.zeros(inputs), torch.zeros(outputs)
        self._xx, self._tx = torch.zeros(inputs, inputs), torch.zeros(outputs, inputs)

    def add(self, x: torch.Tensor, t: torch.Tensor | None = None) -> None:
        """Take in more tokens."""
        if not self.tokens:
            self._move_to(x.device)
            self._x0 = x.mean(dim=0)
            self._t0 = self._t0 if t is None else t.mean(dim=0)
        self.tokens += len(x)
        x = x - self._x0
        self._x += x.sum(dim=0)
        self._xx.addmm_(x.T, x)
        if t is not None:
            t = t - self._t0
            self._t += t.sum(dim=0)
            self._tx.addmm_(t.T, x)

    def _move_to(self, device: torch.device) -> None:
        """Where what is added lies."""
        for name in ("_x0", "_t0", "_x", "_t", "_xx", "_tx"):
            setattr(self, name, getattr(self, name).to(device))

    @property
    def mean(self) -> torch.Tensor:
        """E[x] [inputs]."""
        return self._x0 + self._x / max(self.tokens, 1)

    @property
    def target_mean(self) -> torch.Tensor:
        """E[t] [outputs]."""
        return self._t0 + self._t / max(self.tokens, 1)

    @property
    def covariance(self) -> torch.Tensor:
        """cov(x, x) [inputs, inputs]."""
        return (self._xx - torch.outer(self._x, self._x) / max(self.tokens, 1)) / max(self.tokens, 1)

    @property
    def target_covariance(self) -> torch.Tensor:
        """cov(t, x) [outputs, inputs]."""
        return (self._tx - torch.outer(self._t, self._x) / max(self.tokens, 1)) / max(self.tokens, 1)
