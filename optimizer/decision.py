"""Decision: which candidates are worth training for this device and target, and why the others are not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from transformers import PreTrainedModel

from hardware_profiles.unit import zeros_in_words
from optimizer.architecture import Architecture
from optimizer.candidates import Candidate
from optimizer.engine import Engine
from optimizer.given_candidates import given_candidates
from optimizer.judgement import Judge
from optimizer.narrow_teacher import NarrowTeacher
from optimizer.pruning.patterns import Dense, Depth, Hidden, NOfM, Uniform, Unstructured, View, Width, n_of_m_named
from optimizer.pruning.sensitivity import measure_sensitivity, order_of_layers
from optimizer.setting import Baseline, Setting
from optimizer.target import MaxDrop

__all__ = ["Decision", "decide", "finalists", "look_at", "reason_of_runtime", "wanted_ms"]

SPARSITIES = (0.5, 0.7, 0.8, 0.9, 0.95)
FIRST_STRIDE = 1.6  # without a latency to reach, candidates are compared at this speed-up over the best dense baseline


@dataclass(frozen=True)
class Decision:
    """All candidates as judged, the milliseconds aimed at, and once the race is over the winner and the reason.

    `winner_model` is the winner as the race left it.
    """

    candidates: tuple[Candidate, ...]
    target_ms: float
    winner: Candidate | None = None
    reason: str = ""
    view: View | None = None  # of the teacher; the first cut starts from it
    winner_model: PreTrainedModel | None = None

    def tried(self, ms: tuple[float, ...]) -> Decision:
        """The same once it is measured what the winner's shape takes at each length."""
        assert self.winner is not None
        winner = replace(self.winner, tried_ms=ms)
        candidates = tuple(winner if c.name == winner.name else c for c in self.candidates)
        return replace(self, candidates=candidates, winner=winner)

    def dense(self, baseline: Baseline) -> Candidate:
        """The candidate that is the uncompressed teacher as this baseline runs it."""
        runs = baseline.precision, baseline.runtime
        found = (c for c in self.candidates if isinstance(c.pattern, Dense))
        return next(c for c in found if (c.precision, c.runtime) == runs)


def wanted_ms(setting: Setting) -> float:
    """The latency to aim at: the target's, or a first stride below the fastest dense baseline."""
    if isinstance(setting.target, MaxDrop):
        return min(b.ms for b in setting.allowed_baselines) / FIRST_STRIDE
    return setting.target.milliseconds(setting.teacher_ms)


def decide(setting: Setting, advance: Any = lambda share: None) -> Decision:
    """Propose every pattern at every precision, predict latency and loss, and refuse what cannot pay here.

    A runtime that skips zeros gets the fewest zeros that are predicted to reach the target. A given student is judged
    by what it takes.
    """
    target_ms = wanted_ms(setting)
    width = Uniform(setting.importance) if setting.pattern == "uniform" else Width(setting.importance)
    patterns = (width, Depth(), Dense(), *(Unstructured(s, setting.zeros_by) for s in SPARSITIES))
    looks = 1 + len(setting.hidden_sizes)
    view = look_at(setting.teacher, setting, patterns, lambda share: advance(0.7 * share / looks))
    judge = Judge(setting, view, target_ms)
    dense, sparse = ([e for e in setting.engines if e.skips_zeros == skips] for skips in (False, True))
    candidates = [judge.judged(p, precision, e) for e in dense for p in patterns for precision in e.precisions]
    deployable = [engine for engine in sparse if not engine.reference]
    candidates += [judge.with_zeros(precision, e) for e in deployable for precision in e.precisions]
    if groups := n_of_m_named(setting.pattern or ""):
        n_of_m = NOfM(n=groups[0], m=groups[1], by=setting.zeros_by)
        candidates += [judge.judged(n_of_m, precision, e) for e in setting.engines for precision in e.precisions]
    for number, size in enumerate(setting.hidden_sizes, 1):
        part = partial(_part_of, advance, 0.7 * number / looks, 0.7 / looks)
        candidates += _narrower(setting, size, target_ms, dense, part)
    candidates += given_candidates(setting, target_ms, lambda share: advance(0.7 + 0.3 * share))
    advance(1.0)
    return Decision(tuple(finalists(candidates, setting.effort.finalists)), target_ms, view=view)


def _narrower(
    setting: Setting, size: int, target_ms: float, engines: Sequence[Engine], advance: Any
) -> list[Candidate]:
    """The candidates of one hidden size: what the teacher is like once it is that narrow decides what else goes."""
    pattern = Hidden(setting.importance, size=size)
    start = NarrowTeacher.of(setting, size, partial(_part_of, advance, 0.0, 0.4)).model
    view = look_at(start, setting, [pattern], partial(_part_of, advance, 0.4, 0.6))
    judge = Judge(setting, view, target_ms, start)
    return [judge.judged(pattern, precision, engine) for engine in engines for precision in engine.precisions]


def _part_of(advance: Any, begun: float, size: float, share: float) -> None:
    advance(begun + size * share)


def reason_of_runtime(setting: Setting, candidate: Candidate) -> str:
    """Why a candidate runs with sparse operators, e.g. "; onnxruntime-cpu+sparse runs its layers 3.4x faster ..."."""
    if not setting.engine(candidate.runtime).skips_zeros:
        return ""
    prices = setting.prices(candidate.precision, candidate.runtime)
    speedup = prices.zeros_speedup(candidate.zeros, candidate.shares)
    zeros = zeros_in_words(candidate.zeros, candidate.sparsity)
    return f"; {candidate.runtime} runs its layers {speedup:.2f}x faster with {zeros} than dense, as measured here"


def look_at(
    model: PreTrainedModel, setting: Setting, patterns: Sequence[Any], advance: Any = lambda share: None
) -> View:
    """Measure what heads, neurons, blocks and layers of `model` are worth, as far as these patterns ask."""
    view = View(Architecture.of(model))
    if any(isinstance(pattern, Depth) for pattern in patterns):
        view = replace(view, layer_order=tuple(order_of_layers(model, setting.calibration)))
    if any(isinstance(pattern, Width) for pattern in patterns):
        sensitivity = measure_sensitivity(model, setting.calibration, setting.importance, advance)
        view = replace(view, sensitivity=sensitivity)
    advance(1.0)
    return view


def finalists(candidates: Sequence[Candidate], most: int) -> list[Candidate]:
    """Refuse all but `most` candidates: the one with the least estimated loss of every pattern, then the next best.

    A student that the person gave races beside them, at the precision with the least estimated loss.
    Patterns are not weighed against each other by what they lose before recovery: whole layers lose most at first and
    recover best. That is for the race to find out.
    """
    able = sorted((c for c in candidates if not c.refused), key=lambda c: c.estimated_loss)
    first_of_pattern = {type(c.pattern): c for c in reversed(able)}.values()
    ranked = [*sorted(first_of_pattern, key=lambda c: c.estimated_loss), *able]
    racing = list(dict.fromkeys(c.name for c in ranked if not c.is_given))[:most]
    racing += [c.name for c in ranked if c.is_given][:1]

    def judged(candidate: Candidate) -> Candidate:
        if candidate.refused or candidate.name in racing:
            return candidate
        return candidate.refuse(
            f"{candidate.name}: {candidate.estimated_loss:.2f} nats of estimated loss before recovery, "
            f"{able[0].name} reaches the same latency with {able[0].estimated_loss:.2f}"
        )

    return [judged(candidate) for candidate in candidates]
