"""Judge: what a candidate is predicted to take and to lose, and why it is not worth training if it is not."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

from transformers import PreTrainedModel

from optimizer import refusals
from optimizer.architecture import Architecture
from optimizer.candidates import Candidate, PricesAt, shape_of
from optimizer.engine import Engine
from optimizer.pruning.curves import curve_rows, divergence
from optimizer.pruning.cutting import corrects
from optimizer.pruning.patterns import (
    Block,
    Dense,
    Depth,
    Hidden,
    NOfM,
    Plan,
    Uniform,
    Unstructured,
    View,
    Width,
    Zeros,
    propose,
)
from optimizer.pruning.sensitivity import loss_of_plan
from optimizer.pruning.zeros import set_zeros
from optimizer.pruning.zeros_choice import fewest_zeros
from optimizer.setting import Setting
from optimizer.target import MaxDrop

__all__ = ["SAFETY", "WORTHWHILE", "Judge", "fitting_plan"]

WORTHWHILE = 1.10  # zeros that bring less than this are refused: they cost accuracy
SAFETY = 0.97  # of the wanted latency is aimed at, so that the whole interval of the measured speed-up lies above it
FITTING_ROUNDS = 10
TIGHT = 0.995  # of the milliseconds asked for: a plan that uses as much is not bettered
STEP_BELOW = 0.99  # as long as nothing fits: plans come in steps, the next of which may lie just above what is asked
_ZEROS: dict[str, type[Zeros]] = {"unstructured": Unstructured, "block": Block}


class Judge:
    """Makes candidates for one target. `view` is of the teacher, or of the narrower `start` that they are cut from."""

    def __init__(self, setting: Setting, view: View, target_ms: float, start: PreTrainedModel | None = None) -> None:
        self.setting = setting
        self.view = view
        self.start = start or setting.teacher
        self.target_ms = target_ms
        self._losses: dict[Zeros, float] = {}

    def judged(self, pattern: Any, precision: str, engine: Engine) -> Candidate:
        """The candidate of a pattern, refused with a reason where it cannot pay."""
        candidate = self._drafted(pattern, precision, engine)
        if candidate.refused:
            return candidate
        rounding = self.setting.baseline(precision, engine.name).divergence
        return replace(candidate, estimated_loss=self._estimated_loss(pattern, rounding, candidate.plan))  # slow

    def _drafted(self, pattern: Any, precision: str, engine: Engine) -> Candidate:
        """The candidate without its loss."""
        prices = self._prices(precision, engine)
        plan = self._plan(pattern, prices)
        whole = self.view.architecture
        shape = whole if plan is None else shape_of(whole, plan)
        seen = isinstance(pattern, Zeros) and engine.tells(pattern)
        zeros = (pattern.word, pattern.shares) if seen else ()
        candidate = Candidate(
            name=_name(pattern, precision, shape, whole, engine) + self._where(engine),
            pattern=pattern,
            precision=precision,
            runtime=engine.name,
            plan=plan,
            architecture=shape,
            predicted=prices.predict(shape, *zeros),
            estimated_loss=math.inf,
        )
        reason = self._refusal(candidate, prices, engine)
        return candidate.refuse(reason) if reason else candidate

    def with_zeros(self, precision: str, engine: Engine) -> Candidate:
        """The candidate with the fewest zeros that reach the target on a runtime that skips them; else with the most.

        Raises TrimfitError when no zeros were measured.
        """
        kind = _ZEROS[engine.skipped(precision) or "unstructured"]
        prices, by, wanted = self._prices(precision, engine), self.setting.zeros_by, self.target_ms * SAFETY
        least = prices.least_sparsity(self.view.architecture, kind.word, wanted)
        even = kind(prices.sparsity_range(kind.word)[1] if least is None else least, by)
        drafted = self._drafted(even, precision, engine)
        if drafted.refused:
            return drafted
        teacher, rows = self.setting.teacher, self.setting.calibration
        return self.judged(fewest_zeros(kind, by, teacher, prices, wanted, rows) or even, precision, engine)

    def _prices(self, precision: str, engine: Engine) -> PricesAt:
        """Of models with the hidden size of those that are cut."""
        return self.setting.prices(precision, engine.name).at(self.view.architecture.hidden_size)

    def _where(self, engine: Engine) -> str:
        """What a name says of a runtime: nothing of the stock one, and zeros tell of the one that skips them."""
        return "" if engine.skips_zeros or engine.name == self.setting.stock.name else f" on {engine.name}"

    def _plan(self, pattern: Any, prices: PricesAt) -> Plan | None:
        if isinstance(pattern, (Dense, Zeros)):
            return propose(pattern, self.view, prices, self.target_ms)
        return fitting_plan(pattern, self.view, prices, self.target_ms * SAFETY)

    # -- loss -----------------------------------------------------------------------------------------------

    def _estimated_loss(self, pattern: Any, rounding: float, plan: Plan | None) -> float:
        if isinstance(pattern, Zeros):
            return rounding + self._loss_of(pattern)
        if plan is None:
            return math.inf
        if isinstance(pattern, Dense):
            return rounding
        rows = self.setting.calibration
        return rounding + self._lost_so_far() + loss_of_plan(self.start, rows, plan, corrected=corrects(pattern))

    def _lost_so_far(self) -> float:
        """Nats a row that the start is from the teacher."""
        if self.start is self.setting.teacher:
            return 0.0
        return divergence(self.start, curve_rows(self.start, self.setting.calibration))

    def _loss_of(self, pattern: Zeros) -> float:
        if pattern not in self._losses:
            teacher = self.setting.teacher
            rows = curve_rows(teacher, self.setting.calibration)
            sparse = set_zeros(copy.deepcopy(teacher), pattern, self.setting.calibration)
            self._losses[pattern] = max(0.0, divergence(sparse, rows) - divergence(teacher, rows))
        return self._losses[pattern]

    # -- refusals -------------------------------------------------------------------------------------------

    def _refusal(self, candidate: Candidate, prices: PricesAt, engine: Engine) -> str | None:
        """Why a candidate is not worth training, as a sentence; None if it is."""
        setting, target_ms = self.setting, self.target_ms
        if setting.precision not in (None, candidate.precision):
            return f"{candidate.name}: only {setting.precision} was allowed"
        if setting.pattern not in (None, candidate.cut):
            return f"{candidate.name}: only {setting.pattern} was allowed"
        word = "is the first stride" if isinstance(setting.target, MaxDrop) else "wanted"
        name, wanted = candidate.name, f"{target_ms:.2f} ms {word}"
        if isinstance(candidate.pattern, Zeros):
            return self._refusal_of_zeros(candidate, prices, engine)
        if candidate.plan is None:
            return refusals.too_slow_at_its_smallest(name, _smallest_ms(candidate.pattern, prices), wanted)
        dense_ms = setting.baseline(candidate.precision, engine.name).ms
        if isinstance(candidate.pattern, Dense) and dense_ms > target_ms * SAFETY:
            if candidate.precision == "fp32" and engine.name == setting.stock.name:
                return f"{name}: this is the teacher itself, {dense_ms:.2f} ms measured, {wanted}"
            reached = f"{setting.teacher_ms / dense_ms:.2f}x measured ({dense_ms:.2f} ms)"
            return f"{name}: {reached}, {wanted}: lower precision alone is not enough"
        if candidate.changes_shape and self._is_needless(candidate, engine):
            same = f"the same model as dense {candidate.precision}{self._where(engine)}"
            return f"{name}: nothing has to be cut to reach {target_ms:.2f} ms, {same}"
        return None

    def _is_needless(self, candidate: Candidate, engine: Engine) -> bool:
        """Whether the teacher, uncut, would do."""
        if not isinstance(candidate.pattern, Hidden):
            return candidate.architecture == self.view.architecture
        prices = self.setting.prices(candidate.precision, engine.name)
        return prices.predict(prices.architecture).ms <= self.target_ms * SAFETY

    def _refusal_of_zeros(self, candidate: Candidate, prices: PricesAt, engine: Engine) -> str | None:
        if not engine.tells(candidate.pattern):
            return refusals.no_kernel(candidate.name, engine.name, candidate.cut)
        speedup = prices.zeros_speedup(candidate.zeros, candidate.shares)
        measured = candidate.name, speedup, engine.name
        if engine.skips_zeros:
            dense_ms = prices.predict(candidate.architecture).ms
            if dense_ms <= self.target_ms * SAFETY:
                reached = f"{dense_ms:.2f} ms predicted without them"
                return f"{candidate.name}: no zeros are needed to reach {self.target_ms:.2f} ms, {reached}"
            _, most = prices.sparsity_range(candidate.zeros)
            if prices.zeros_speedup(candidate.zeros, most) < WORTHWHILE:
                return refusals.not_paying(*measured, candidate.precision)
            if engine.reference:
                return refusals.only_a_reference(*measured, self.setting.stock.name)
        elif speedup < WORTHWHILE:
            return refusals.multiplied(*measured)
        if candidate.predicted.ms > self.target_ms:
            return refusals.too_few_zeros(*measured, candidate.predicted.ms, self.target_ms)
        return None


def fitting_plan(pattern: Any, view: View, prices: PricesAt, target_ms: float) -> Plan | None:
    """A plan whose whole shape is predicted to take at most `target_ms`, and hardly less.

    Patterns add up prices of single layers; caches make the sum of a small model less than that, so the sum asked for
    is corrected by what the whole shape is predicted to take. None where even the smallest takes longer.
    """
    best: tuple[float, Plan] | None = None
    asked = target_ms
    for _ in range(FITTING_ROUNDS):
        plan = propose(pattern, view, prices, asked)
        if plan is None:
            break
        ms = prices.predict(shape_of(view.architecture, plan)).ms
        if ms <= target_ms and (best is None or ms > best[0]):
            best = ms, plan
        if best and best[0] >= TIGHT * target_ms:
            break
        asked *= target_ms / ms * (1.0 if best else STEP_BELOW)
    return best[1] if best else None


def _smallest_ms(pattern: Any, prices: PricesAt) -> float:
    """What the smallest model that a pattern can leave is predicted to take."""
    if isinstance(pattern, Uniform):
        return prices.narrowest_ms()
    return prices.fastest_ms() if isinstance(pattern, Width) else prices.one_layer_ms()


def _name(pattern: Any, precision: str, shape: Architecture, whole: Architecture, engine: Engine) -> str:
    if isinstance(pattern, Depth):
        return f"depth {shape.depth}/{whole.depth} {precision}"
    if isinstance(pattern, Zeros):
        operators = " with sparse operators" if engine.skips_zeros else ""
        if isinstance(pattern, NOfM):
            return f"{pattern.n}:{pattern.m} {precision}{operators}"
        return f"{pattern.word} {100 * pattern.sparsity:.0f} % {precision}{operators}"
    size = f" {pattern.size}" if isinstance(pattern, Hidden) else ""
    return f"{type(pattern).__name__.lower()}{size} {precision}"
