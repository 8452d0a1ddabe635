"""Advise: profile the device where that is not done yet, predict every way, and measure the best."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.errors import TrimfitError
from benchmarks.workload import Workload
from hardware_profiles.device import Device, resolve
from hardware_profiles.runtimes import get
from hardware_profiles.steadiness import profile_instability
from optimizer.advice.layers import layers_break_even
from optimizer.advice.menu import cannot_pay, menu
from optimizer.advice.recommendation import recommend
from optimizer.advice.record import Advice, Measured, TargetAdvice
from optimizer.advice.site import Site
from optimizer.advice.trial import try_out
from optimizer.effort import FAST
from optimizer.engine import Engine
from optimizer.manifest import DeviceFacts
from optimizer.model_shape import ModelShape
from optimizer.preparation import SPARSE_RUNTIME, profile_of, sparse_profile_of
from optimizer.progress import ConsoleProgress, Progress

__all__ = ["TARGETS", "advise"]

TARGETS = (2.0, 4.0, 8.0)
SEQ_LEN = 128  # tokens a row where neither a person nor data says how many


def advise(
    model: str | Path,
    *,
    device: str = "local",
    batch: int = 1,
    seq_len: int | None = None,
    threads: int | None = None,
    targets: Sequence[float] = TARGETS,
    seed: int = 0,
    progress: Progress | None = None,
) -> Advice:
    """Say what each way of compressing a model would bring on a device, without data and without training.

    Args:
        model: local Hugging Face folder of a sequence classifier or an encoder.
        device: "local".
        batch: rows an inference.
        seq_len: tokens a row; None takes 128, or what the model takes at most.
        threads: None takes all cores of the device.
        targets: speed-ups over the fp32 model to recommend ways for.
        seed: of random weights and inputs.
        progress: where to tell; None tells on standard error.

    Raises:
        TrimfitError: bad input or environment; one line.
    """
    progress = progress or ConsoleProgress()
    where, shape = resolve(device), ModelShape.read(Path(model))
    tokens, assumptions = _tokens(seq_len, shape.most_tokens)
    workload = Workload(batch=batch, seq_len=tokens, threads=threads or where.cores)
    site = _site(where, shape, workload, progress)
    forecasts = tuple(site.forecast(way) for way in menu(site))
    asked = [recommend(site, speedup) for speedup in targets]
    best = {target.ways[0].way.name: target.ways[0].way for target in asked if target.ways}
    with progress.step(f"Timing the teacher's shape and {len(best)} recommended ones") as advance:
        trials, doubts = try_out(site, best.values(), shape.activation, seed=seed, advance=advance)
    return Advice(
        model=str(model),
        architecture=shape.architecture,
        activation=shape.activation,
        device=DeviceFacts(name=where.name, fingerprint=where.fingerprint, provenance=where.provenance),
        workload=workload,
        assumptions=assumptions,
        teacher=site.forecast(site.dense(site.precisions[0])),
        ways=forecasts,
        refused=cannot_pay(site, forecasts),
        break_even=layers_break_even(site),
        targets=tuple(_with_trial(target, trials) for target in asked),
        doubts=(*_unsteady(site), *doubts),
    )


def _tokens(asked: int | None, most: int) -> tuple[int, tuple[str, ...]]:
    """Tokens a row, and what was assumed about them."""
    if asked is None:
        tokens = min(SEQ_LEN, most)
        return tokens, (f"{tokens} tokens a row are assumed, since no data says otherwise: give --seq-len",)
    if asked > most:
        raise TrimfitError(f"--seq-len {asked} is more than the {most} tokens the model takes: give at most {most}")
    return asked, ()


def _site(device: Device, shape: ModelShape, workload: Workload, progress: Progress) -> Site:
    """The site, its engines from cached profiles or ones that are made as the main job makes them."""
    sizes = shape.architecture, workload, FAST, progress, shape.activation
    stock = profile_of(device, *sizes)
    engine, reason = Engine.of(stock), _why_no_zeros()
    zeros = None if reason else sparse_profile_of(stock, *sizes)
    if zeros is None:
        return Site(shape.architecture, workload, (engine,), reason or "they could not be profiled")
    return Site(shape.architecture, workload, (engine, Engine.of(zeros.over(stock), skips_zeros=True)))


def _why_no_zeros() -> str | None:
    try:
        get(SPARSE_RUNTIME)
    except TrimfitError as error:
        return str(error)
    return None


def _with_trial(target: TargetAdvice, trials: dict[str, Measured]) -> TargetAdvice:
    name = target.ways[0].way.name if target.ways else ""
    return target.model_copy(update={"measured": trials.get(name)})


def _unsteady(site: Site) -> tuple[str, ...]:
    """What was unsteady while the profiles were made."""
    return tuple(dict.fromkeys(f"profile: {x}" for engine in site.engines for x in profile_instability(engine.profile)))
