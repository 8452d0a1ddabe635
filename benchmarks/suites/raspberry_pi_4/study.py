"""Study: each part of the published transformers fitted on two thirds of the rows, and scored on the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.suites.raspberry_pi_4.features import Features, decoder_features, encoder_features, gflop
from benchmarks.suites.raspberry_pi_4.fitting import Costs, fit, predicted, score
from benchmarks.suites.raspberry_pi_4.rows import Rows

__all__ = ["PARTS", "Study"]

PARTS = ("encoder", "decoder", "whole")
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Study:
    """Rows of one task, with the words its decoder chooses from. Costs are fitted to steady rows not held out."""

    rows: Rows
    vocabulary: int
    seed: int = 0

    def features(self, part: str) -> Features:
        """Of "encoder" or "decoder"."""
        return encoder_features(self.rows) if part == "encoder" else decoder_features(self.rows, self.vocabulary)

    def arithmetic(self, part: str, *, constant: bool) -> Features:
        """All that FLOPs say of a part, or of the whole; with a constant, if it may have one."""
        parts = [self.features(name) for name in (("encoder", "decoder") if part == "whole" else (part,))]
        only = {"gflop": gflop(*parts)}
        return {**only, "constant": np.ones(len(self.rows))} if constant else only

    def costs(self, part: str) -> Costs:
        """Of "encoder" or "decoder", by kind."""
        return self._fitted(part, self.features(part))

    def scores(self, costs: dict[str, Costs]) -> dict[str, Any]:
        """Costs by kind beside FLOPs alone (of this task's own rows) on its held-out rows: steady ones, and all."""
        held_out = self.rows.held_out(self.seed)
        return {
            part: {
                "steady": self._scored(part, costs, held_out & self.rows.steady(part)),
                "all": self._scored(part, costs, held_out),
            }
            for part in PARTS
        }

    def transferred(self, costs: dict[str, Costs]) -> dict[str, Any]:
        """The costs of another task on all steady rows of this one, of which nothing was fitted."""
        return {
            part: score(self.by_kind(part, costs)[steady], self.rows.milliseconds(part)[steady])
            for part in PARTS
            if (steady := self.rows.steady(part)).any()
        }

    def by_kind(self, part: str, costs: dict[str, Costs]) -> Floats:
        """Milliseconds [n] that costs of the encoder and of the decoder predict."""
        if part == "whole":
            return self.by_kind("encoder", costs) + self.by_kind("decoder", costs)
        return predicted(costs[part], self.features(part))

    def errors(self, costs: dict[str, Costs], *, held_out: bool = True) -> Floats:
        """Relative errors of steady encoders; of those that are held out, or of all."""
        chosen = self.rows.steady("encoder") & (self.rows.held_out(self.seed) if held_out else True)
        return np.abs(self.by_kind("encoder", costs) / self.rows.milliseconds("encoder") - 1)[chosen]

    def gflops(self) -> float:
        """Effective GFLOP/s of the typical steady encoder."""
        speed = gflop(self.features("encoder")) / self.rows.milliseconds("encoder") * 1e3
        return float(np.median(speed[self.rows.steady("encoder")]))

    @property
    def fitted(self) -> int:
        """Number of encoders that costs are fitted to."""
        return int(self._training("encoder").sum())

    def _training(self, part: str) -> NDArray[np.bool_]:
        return self.rows.steady(part) & ~self.rows.held_out(self.seed)

    def _fitted(self, part: str, features: Features) -> Costs:
        chosen = self._training(part)
        return fit({name: values[chosen] for name, values in features.items()}, self.rows.milliseconds(part)[chosen])

    def _scored(self, part: str, costs: dict[str, Costs], chosen: NDArray[np.bool_]) -> dict[str, Any]:
        truth = self.rows.milliseconds(part)[chosen]
        guesses = {"by_kind": self.by_kind(part, costs)}
        for name, constant in (("flops", False), ("flops_and_constant", True)):
            features = self.arithmetic(part, constant=constant)
            guesses[name] = predicted(self._fitted(part, features), features)
        return {name: score(guess[chosen], truth) for name, guess in guesses.items()}
