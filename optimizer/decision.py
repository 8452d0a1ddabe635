"""Decision: which candidates are worth training for this device and target, and why the others are not."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from transformers import PreTrainedModel

from optimizer.architecture import Architecture
from optimizer.candidates import Candidate, PricesAt, shape_of
from optimizer.pruning.patterns import Dense, Depth, Plan, Unstructured, View, Width, propose
from optimizer.pruning.sensitivity import curve_rows, divergence, loss_of_plan, measure_sensitivity, order_of_layers
from optimizer.pruning.zeros import set_zeros
from optimizer.setting import Setting
from optimizer.target import MaxDrop

__all__ = ["Decision", "decide", "finalists", "fitting_plan", "look_at", "wanted_ms"]

SPARSITIES = (0.5, 0.7, 0.8, 0.9, 0.95)
WORTHWHILE = 1.10  # zeros that bring less than this are refused: they cost accuracy
SAFETY = 0.97  # of the wanted latency is aimed at, so that the whole interval of the measured speed-up lies above it
FITTING_ROUNDS = 5
FIRST_STRIDE = 1.6  # without a latency to reach, candidates are compared at this speed-up over the best dense baseline


@dataclass(frozen=True)
class Decision:
    """All candidates as judged, the milliseconds aimed at, and once the race is over the winner and the reason."""

    candidates: tuple[Candidate, ...]
    target_ms: float
    winner: Candidate | None = None
    reason: str = ""
    view: View | None = None  # of the teacher; the first cut starts from it


def wanted_ms(setting: Setting) -> float:
    """The latency to aim at: the target's, or a first stride below the fastest dense baseline."""
    if isinstance(setting.target, MaxDrop):
        return min(b.ms for b in setting.baselines) / FIRST_STRIDE
    return setting.target.milliseconds(setting.teacher_ms)


def decide(setting: Setting, advance: Any = lambda share: None) -> Decision:
    """Propose every pattern at every precision, predict latency and loss, and refuse what cannot pay here."""
    target_ms = wanted_ms(setting)
    patterns = (Width(), Depth(), Dense(), *(Unstructured(s) for s in SPARSITIES))
    view = look_at(setting.teacher, setting, patterns, lambda share: advance(0.7 * share))
    zeros = {sparsity: _loss_of_zeros(setting, sparsity) for sparsity in SPARSITIES}
    candidates = [
        _judge(setting, view, pattern, precision, target_ms, zeros)
        for pattern in patterns
        for precision in setting.runtime.precisions
    ]
    advance(1.0)
    return Decision(tuple(finalists(candidates, setting.effort.finalists)), target_ms, view=view)


def look_at(
    model: PreTrainedModel, setting: Setting, patterns: Sequence[Any], advance: Any = lambda share: None
) -> View:
    """Measure what heads, neurons, blocks and layers of `model` are worth, as far as these patterns ask."""
    view = View(Architecture.of(model))
    if any(isinstance(pattern, Depth) for pattern in patterns):
        view = replace(view, layer_order=tuple(order_of_layers(model, setting.calibration)))
    if any(isinstance(pattern, Width) for pattern in patterns):
        view = replace(view, sensitivity=measure_sensitivity(model, setting.calibration, advance))
    advance(1.0)
    return view


def finalists(candidates: Sequence[Candidate], most: int) -> list[Candidate]:
    """Refuse all but `most` candidates: the one with the least estimated loss of every pattern, then the next best.

    Patterns are not weighed against each other by what they lose before recovery: whole layers lose most at first and
    recover best. That is for the race to find out.
    """
    able = sorted((c for c in candidates if not c.refused), key=lambda c: c.estimated_loss)
    first_of_pattern = {type(c.pattern): c for c in reversed(able)}.values()
    ranked = [*sorted(first_of_pattern, key=lambda c: c.estimated_loss), *able]
    racing = list(dict.fromkeys(c.name for c in ranked))[:most]

    def judged(candidate: Candidate) -> Candidate:
        if candidate.refused or candidate.name in racing:
            return candidate
        return candidate.refuse(
            f"{candidate.name}: {candidate.estimated_loss:.2f} nats of estimated loss before recovery, "
            f"{able[0].name} reaches the same latency with {able[0].estimated_loss:.2f}"
        )

    return [judged(candidate) for candidate in candidates]


def fitting_plan(pattern: Any, view: View, prices: PricesAt, target_ms: float) -> Plan | None:
    """A plan whose whole shape is predicted to take at most `target_ms`, and hardly less.

    Patterns add up prices of single layers; caches make the sum of a small model less than that, so the sum asked for
    is corrected by what the whole shape is predicted to take.
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
        asked *= target_ms / ms
    return best[1] if best else None


def _judge(
    setting: Setting, view: View, pattern: Any, precision: str, target_ms: float, zeros: dict[float, float]
) -> Candidate:
    prices = setting.prices(precision)
    plan = _plan(pattern, view, prices, target_ms * SAFETY)
    shape = view.architecture if plan is None else shape_of(view.architecture, plan)
    predicted = prices.predict(shape)
    if isinstance(pattern, Unstructured):
        speedup = setting.latency.zeros_speedup(setting.workload, precision, pattern.sparsity)
        predicted = replace(
            predicted,
            ms=predicted.ms / speedup,
            low_ms=predicted.low_ms / speedup,
            high_ms=predicted.high_ms / speedup,
        )
    candidate = Candidate(
        name=_name(pattern, precision, shape, view.architecture),
        pattern=pattern,
        precision=precision,
        runtime=setting.runtime.name,
        plan=plan,
        architecture=shape,
        predicted=predicted,
        estimated_loss=_estimated_loss(setting, pattern, precision, plan, zeros),
    )
    reason = _refusal(setting, candidate, prices, target_ms, view.architecture)
    return candidate.refuse(reason) if reason else candidate


def _plan(pattern: Any, view: View, prices: PricesAt, target_ms: float) -> Plan | None:
    if isinstance(pattern, (Dense, Unstructured)):
        return propose(pattern, view, prices, target_ms)
    return fitting_plan(pattern, view, prices, target_ms)


def _name(pattern: Any, precision: str, shape: Architecture, whole: Architecture) -> str:
    if isinstance(pattern, Depth):
        return f"depth {shape.depth}/{whole.depth} {precision}"
    if isinstance(pattern, Unstructured):
        return f"unstructured {pattern.sparsity:.0%} {precision}".replace("%", " %")
    return f"{type(pattern).__name__.lower()} {precision}"


def _estimated_loss(
    setting: Setting, pattern: Any, precision: str, plan: Plan | None, zeros: dict[float, float]
) -> float:
    rounding = setting.baseline(precision).divergence
    if isinstance(pattern, Unstructured):
        return rounding + zeros[pattern.sparsity]
    if plan is None:
        return math.inf
    return rounding + (0.0 if isinstance(pattern, Dense) else loss_of_plan(setting.teacher, setting.calibration, plan))


def _loss_of_zeros(setting: Setting, sparsity: float) -> float:
    rows = curve_rows(setting.teacher, setting.calibration)
    sparse = set_zeros(copy.deepcopy(setting.teacher), sparsity)
    return max(0.0, divergence(sparse, rows) - divergence(setting.teacher, rows))


def _refusal(
    setting: Setting, candidate: Candidate, prices: PricesAt, target_ms: float, whole: Architecture
) -> str | None:
    """Why a candidate is not worth training, as a sentence; None if it is."""
    word = "is the first stride" if isinstance(setting.target, MaxDrop) else "wanted"
    name, wanted = candidate.name, f"{target_ms:.2f} ms {word}"
    if isinstance(candidate.pattern, Unstructured):
        return _refusal_of_zeros(setting, candidate, target_ms)
    if candidate.plan is None:
        least = prices.fastest_ms() if isinstance(candidate.pattern, Width) else prices.one_layer_ms()
        return f"{name}: even its smallest shape takes {least:.2f} ms, {wanted}"
    dense_ms = setting.baseline(candidate.precision).ms
    if isinstance(candidate.pattern, Dense) and dense_ms > target_ms * SAFETY:
        if candidate.precision == "fp32":
            return f"{name}: this is the teacher itself, {dense_ms:.2f} ms measured, {wanted}"
        reached = f"{setting.teacher_ms / dense_ms:.2f}x measured ({dense_ms:.2f} ms)"
        return f"{name}: {reached}, {wanted}: lower precision alone is not enough"
    if candidate.changes_shape and candidate.architecture == whole:
        return (
            f"{name}: nothing has to be cut to reach {target_ms:.2f} ms, the same model as dense {candidate.precision}"
        )
    return None


def _refusal_of_zeros(setting: Setting, candidate: Candidate, target_ms: float) -> str | None:
    speedup = setting.latency.zeros_speedup(setting.workload, candidate.precision, candidate.sparsity)
    measured = f"{candidate.name}: {speedup:.2f}x measured on {setting.runtime.name}"
    if speedup < WORTHWHILE:
        return f"{measured}: this runtime does not skip zeros"
    if candidate.predicted.ms > target_ms:
        return f"{measured}, {candidate.predicted.ms:.2f} ms predicted, {target_ms:.2f} ms wanted"
    return None
