"""Advise: profile devices where that is not done yet, predict every way, and measure the best."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.errors import TrimfitError
from hardware_profiles.steadiness import profile_instability
from optimizer.advice.across import Survey, across
from optimizer.advice.layers import layers_break_even
from optimizer.advice.menu import cannot_pay, menu
from optimizer.advice.places import Measurable, Place, places_of
from optimizer.advice.recommendation import recommend
from optimizer.advice.record import Advice, AdviceAcross, Measured, TargetAdvice
from optimizer.advice.site import Site
from optimizer.advice.trial import try_out
from optimizer.manifest import DeviceFacts
from optimizer.model_shape import ModelShape
from optimizer.preparation import RUNTIME
from optimizer.progress import ConsoleProgress, Progress

__all__ = ["TARGETS", "advice_at", "advise", "advise_across"]

TARGETS = (2.0, 4.0, 8.0)
SEQ_LEN = 128  # tokens a row where neither a person nor data says how many


def advise(
    model: str | Path,
    *,
    device: str = "local",
    runtime: str = RUNTIME,
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
        device: "local", "local:avx2" (the sparse operators limited to it); "catalog:NAME", the path of a profile or of
            a folder of them, which are predicted from and never measured, as are published figures of the catalog.
        runtime: what runs the model: onnxruntime, with its sparse operators where there are some, unless another one
            is named, which is then looked at alone.
        batch: rows an inference.
        seq_len: tokens a row; None takes 128, or what the model takes at most.
        threads: None takes all cores of the device; of a profile, the most that were measured.
        targets: speed-ups over the fp32 model to recommend ways for.
        seed: of random weights and inputs.
        progress: where to tell; None tells on standard error.

    Raises:
        TrimfitError: bad input or environment; one line.
    """
    found = advise_across(
        model,
        [device],
        runtime=runtime,
        batch=batch,
        seq_len=seq_len,
        threads=threads,
        targets=targets,
        seed=seed,
        progress=progress,
    )
    return found.advice[0]


def advise_across(
    model: str | Path,
    devices: Sequence[str],
    *,
    runtime: str = RUNTIME,
    batch: int = 1,
    seq_len: int | None = None,
    threads: int | None = None,
    targets: Sequence[float] = TARGETS,
    seed: int = 0,
    progress: Progress | None = None,
) -> AdviceAcross:
    """Say it for each of several devices, and what a model that is tuned for one of them costs on the others.

    `devices` are as `advise` takes one, at least one and no two the same; all else is as there.
    """
    progress = progress or ConsoleProgress()
    places, shape = places_of(devices, runtime), ModelShape.read(Path(model))
    tokens, assumptions = _tokens(seq_len, shape.most_tokens)
    asked = [place.workload(shape, batch, tokens, threads) for place in places]  # refuses before anything is measured
    surveys = []
    for place, workload in zip(places, asked, strict=True):
        with place.in_force():
            site = place.site(shape, workload, progress)
            found = advice_at(place, site, targets, shape.activation, seed, progress)
        known = found.model_copy(update={"model": str(model), "assumptions": assumptions})
        surveys.append(Survey(site, known))
    return across(surveys)


def advice_at(
    place: Place, site: Site, targets: Sequence[float], activation: str, seed: int, progress: Progress
) -> Advice:
    """All that is advised on one device, which is in force; of no named model."""
    where = place.device
    forecasts = tuple(site.forecast(way) for way in menu(site))
    asked = [recommend(site, speedup) for speedup in targets]
    best = {target.ways[0].way.name: target.ways[0].way for target in asked if target.ways}
    trials: dict[str, Measured] = {}
    doubts: tuple[str, ...] = ()
    if isinstance(place, Measurable):
        with progress.step(f"Timing the teacher's shape and {len(best)} recommended ones") as advance:
            trials, doubts = try_out(site, best.values(), activation, seed=seed, advance=advance)
    return Advice(
        model="",
        architecture=site.architecture,
        activation=activation,
        asked=place.asked,
        origin=place.origin,
        device=DeviceFacts(name=where.name, fingerprint=where.fingerprint, provenance=where.provenance),
        workload=site.workload,
        notes=site.notes,
        teacher=site.forecast(site.dense(site.precisions[0])),
        ways=forecasts,
        refused=cannot_pay(site, forecasts),
        break_even=layers_break_even(site),
        unverified=site.unverified,
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


def _with_trial(target: TargetAdvice, trials: dict[str, Measured]) -> TargetAdvice:
    name = target.ways[0].way.name if target.ways else ""
    return target.model_copy(update={"measured": trials.get(name)})


def _unsteady(site: Site) -> tuple[str, ...]:
    """What was unsteady while the profiles were made."""
    return tuple(dict.fromkeys(f"profile: {x}" for engine in site.engines for x in profile_instability(engine.profile)))
