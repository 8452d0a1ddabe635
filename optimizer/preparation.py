"""Preparation: from what was asked to a Setting: task, teacher, device, profile and the uncompressed baselines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from transformers import PreTrainedModel

from benchmarks.errors import TrimfitError
from benchmarks.lengths import Lengths
from benchmarks.workload import Workload
from hardware_profiles.contest import worthwhile
from hardware_profiles.device import Device, resolve
from hardware_profiles.latency_model import LatencyModel
from hardware_profiles.profile import LatencyProfile
from hardware_profiles.profile_request import TWO_OF_FOUR
from hardware_profiles.profiler import ProfileRequest, run_profile
from hardware_profiles.runtimes import STOCK, Runtime, TorchCuda, TorchTwoOfFour, get, refused, runtimes, stock_name
from optimizer.architecture import Architecture
from optimizer.baselines import measure_baselines
from optimizer.candidates import PATTERNS, PricesAt
from optimizer.cut_schedule import check_cut_schedule
from optimizer.distillation.black_box import BlackBox
from optimizer.distillation.catalog import objective_named
from optimizer.distillation.imitation import check_teacher
from optimizer.distillation.rows import rule_named
from optimizer.effort import Effort
from optimizer.encoding import Encoded, typical_length
from optimizer.engine import Engine, anchors_of, has_kernel
from optimizer.evaluation.held_out import held_out_sets, read_also
from optimizer.given_student import fit_given, read_given
from optimizer.hidden_choice import hidden_sizes
from optimizer.job import DATA, Job
from optimizer.model_folder import inspect_folder
from optimizer.more_texts import read_more
from optimizer.progress import Progress
from optimizer.pruning.importance import IMPORTANCES
from optimizer.pruning.patterns import ZEROS_BY, NOfM, n_of_m_named
from optimizer.scoring import check_metric
from optimizer.setting import Baseline, Setting
from optimizer.target import MaxDrop
from optimizer.tasks import read_task
from optimizer.teacher import Teacher, encode_parts, load_tokenizer, prepare_teacher, token_limit, untrained
from optimizer.vocabulary import Start, check_choice, fit_vocabulary
from optimizer.vocabulary.texts import read_texts

__all__ = ["activation_of", "prepare", "profile_of", "sparse_profile_of", "sparse_runtime", "workload_of"]

RUNTIME, SPARSE_RUNTIME = STOCK, "onnxruntime-cpu+sparse"
GPU_ZEROS_RUNTIME = TorchTwoOfFour.name
SPARSITIES = (0.5, 0.8, 0.9, 0.95)  # with sparse operators; time falls evenly between them
WORTH_SAYING = 0.02  # share of texts that are cut


def prepare(job: Job, progress: Progress) -> Setting:
    """Everything the decision needs, read, trained and measured; what an earlier run finished is taken from disk."""
    device = resolve(job.device)
    check_metric(job.metric)
    _check_precision(job.precision)
    _check_pattern(job.pattern, job.student)
    objective = objective_named(job.distill)
    _check_importance(job.importance)
    _check_zeros_by(job.zeros_by)
    check_cut_schedule(job.schedule, job.zeros_by)
    rule = rule_named(job.rows)
    found = inspect_folder(job.model)
    if job.student:
        inspect_folder(job.student)
    black_box = None if job.teacher is None else BlackBox(job.teacher, job.labels, job.data, job.columns)
    tokenizer = load_tokenizer(job.model)
    check_choice(job.vocabulary, tokenizer, job.keep_vocabulary, job.columns.text)
    with progress.step(f"Reading {job.data}"):
        unlabelled = black_box.unlabelled(tuple((found.labels or {}).values())) if black_box else None
        task = read_task(job.data, job.columns, metric=job.metric, seed=job.seed, unlabelled=unlabelled)
    for reason, count in task.dropped.items():
        progress.say(f"{count} rows dropped: {reason}")
    for part, count in task.also_in_train.items():
        progress.say(f"{count} of {len(task.parts[part])} {part} texts are in train as well: their score says less")
    job.check()
    model, task = untrained(job.model, task, seed=job.seed)
    inquiry = black_box.inquiry(task, job.seed, job.work / "black-box", progress) if black_box else None
    also = read_also(job.also_test, job.columns, task.labels, progress.say)
    check_teacher(objective, model)
    more = read_more(job.unlabelled, job.columns.text, job.augment, task, also.values())
    with progress.step("Tokenising"):
        rows, max_tokens = encode_parts(task, tokenizer, token_limit(model.config, tokenizer), job.tokens)
    cut = float((rows["train"].lengths == max_tokens).mean())
    if cut > WORTH_SAYING:
        progress.say(f"{cut:.0%} of the training texts have {max_tokens} tokens or more and are cut there")
    workload = workload_of(job, rows["dev"], device.default_threads)
    checkpoint = read_given(job.student, task, tokenizer, workload, seed=job.seed) if job.student else None
    if workload.lengths:
        progress.say(f"{workload.lengths} are measured at {workload.lengths.in_words}")
    shape = Architecture.of(model)
    activation = activation_of(model)
    profile = profile_of(device, shape, workload, job.effort, progress, activation, precision=job.precision)
    profiles = [profile, *_other_profiles(device, shape, workload, job, progress, activation)]
    _check_profiled(job.precision, profiles)
    sizes = hidden_sizes(job.pattern, job.precision, job.target, _prices(profiles, shape, workload), shape)
    profiles = [_with_sizes(each, sizes, shape, workload, job.effort, progress, activation) for each in profiles]
    if checkpoint is None:  # which may be faster than anything that the teacher can be cut to
        _refuse_impossible(job, profiles, shape, workload, sizes)
    with_zeros = sparse_profile_of(profile, shape, workload, job.effort, progress, activation)
    job.open()
    lesson = inquiry.give() if inquiry else None
    if lesson:
        task, rows = lesson.task, lesson.encoded(rows)
    teacher = prepare_teacher(
        job.model,
        model,
        task,
        rows,
        tokenizer,
        effort=job.effort,
        seed=job.seed,
        work=job.work / "teacher",
        progress=progress,
        max_tokens=max_tokens,
        more=more,
    )
    job.tick()
    baselines = measure_baselines(
        job.work / "baselines", teacher, tokenizer, profiles, workload, seed=job.seed, progress=progress
    )
    engines = [_anchored(known, baselines, shape, workload) for known in profiles]
    if with_zeros:
        engines.append(Engine.of(with_zeros.over(engines[0].profile), skips_zeros=True))
    start = _start(job, teacher, tokenizer, max_tokens, progress)
    read = held_out_sets(teacher.task, also, _scored(teacher), _scored(start), (tokenizer, start.tokenizer), max_tokens)
    given = fit_given(checkpoint, teacher, start, read, objective, max_tokens, progress) if checkpoint else None
    job.tick()
    return Setting(
        task=teacher.task,
        tokenizer=start.tokenizer,
        teacher=start.model,
        train=start.train,
        dev=start.dev,
        test=start.test,
        device=device,
        engines=tuple(engines),
        workload=workload,
        baselines=baselines,
        target=job.target,
        effort=job.effort,
        objective=objective,
        seed=job.seed,
        work=job.work,
        progress=progress,
        max_tokens=max_tokens,
        precision=job.precision,
        pattern=job.pattern,
        whole=teacher.model if start.facts else None,
        held_out=read,
        vocabulary=start.facts,
        importance=job.importance,
        lesson=lesson,
        own_logits=teacher.own_logits,
        zeros_by=job.zeros_by,
        schedule=job.schedule,
        hidden_sizes=sizes,
        rows=rule,
        training=teacher.training.model_copy(update={"rows": job.rows}) if teacher.training else None,
        given=given,
    )


def _start(job: Job, teacher: Teacher, tokenizer: object, max_tokens: int, progress: Progress) -> Start:
    named = (text for path in job.keep_vocabulary for text in read_texts(path, job.columns.text))
    texts = chain(named, teacher.joined_texts)
    return fit_vocabulary(job.vocabulary, teacher, tokenizer, texts, max_tokens, job.work / "vocabulary", progress)


def _scored(rows: Teacher | Start) -> dict[str, Encoded]:
    return {"dev": rows.dev} | ({} if rows.test is None else {"test": rows.test})


def workload_of(job: Job, dev: Encoded, cores: int) -> Workload:
    """What is asked of the models: where the job names no number of tokens, what the dev rows say."""
    threads = job.threads or cores
    if job.seq_len == DATA:
        return Workload.over(Lengths.of(dev.lengths, job.batch), batch=job.batch, threads=threads)
    return Workload(batch=job.batch, seq_len=job.tokens or typical_length(dev), threads=threads)


def profile_of(
    device: Device,
    shape: Architecture,
    workload: Workload,
    effort: Effort,
    progress: Progress,
    activation: str = "gelu",
    machine: bool = False,
    precision: str | None = None,
    runtime: Runtime | None = None,
    fresh: bool = False,
) -> LatencyProfile:
    """The device's profile for models up to this shape with the stock runtime, from the cache where it is known.

    Where the device is this one with restricted sparse operators, it is the unrestricted one's: they are not in it.
    `machine`: with the machine's peak and what threads bring. `precision` is in it even where it does not pay here.
    Another `runtime` is profiled likewise. `fresh`: measured again where it is known.
    """
    chosen = runtime or get(stock_name())
    forced = [precision] if precision in chosen.precisions else []
    usual = [p for p in chosen.precisions if p not in chosen.contested]
    asked = tuple(dict.fromkeys((*usual, *forced)))
    request = replace(_request(shape, workload, effort, activation), precisions=asked, machine=machine)
    profile = _profiled(device.limited(None), chosen, request, progress, fresh)
    profile = profile.model_copy(update={"device": device})
    if chosen.name == stock_name():
        progress.say(f"runtime options that are fastest here: {profile.runtime.options() or 'the stock ones'}")
    for trial in profile.contests:
        if trial.precision not in asked:
            progress.say(str(trial))
    return profile


def sparse_profile_of(
    stock: LatencyProfile,
    shape: Architecture,
    workload: Workload,
    effort: Effort,
    progress: Progress,
    activation: str = "gelu",
    fresh: bool = False,
) -> LatencyProfile | None:
    """What zeros bring on the device with sparse operators; None, said with the reason, where there are none for it.

    `stock` is the stock runtime's profile, whose options are the best for what stays dense. `over(stock)` knows both.
    """
    request = replace(_request(shape, workload, effort, activation), sparse=True, sparsities=SPARSITIES)
    try:
        runtime = get(sparse_runtime(stock.device))
        if stock.device.gpu:
            precisions = tuple(p for p in runtime.precisions if p in stock.precisions)
            request = replace(request, sparsities=(TWO_OF_FOUR,), precisions=precisions)
        else:
            runtime = runtime.with_options({**runtime.options(), **stock.runtime.options()})
        return _profiled(stock.device, runtime, request, progress, fresh)
    except TrimfitError as error:
        progress.say(f"zeros are not tried with sparse operators: {error}")
        return None


def sparse_runtime(device: Device) -> str:
    """The runtime that skips zeros: any on a CPU, with our operators; 2:4 on a GPU, with PyTorch's kernels."""
    return GPU_ZEROS_RUNTIME if device.gpu else SPARSE_RUNTIME


def _request(shape: Architecture, workload: Workload, effort: Effort, activation: str) -> ProfileRequest:
    return ProfileRequest(
        hidden_size=shape.hidden_size,
        head_size=shape.head_size,
        max_heads=max(layer.heads for layer in shape.layers),
        max_ffn=max(layer.ffn for layer in shape.layers),
        depth=shape.depth,
        workload=workload,
        activation=activation,
        budget=effort.profile,
    )


def _profiled(
    device: Device, runtime: Runtime, request: ProfileRequest, progress: Progress, fresh: bool
) -> LatencyProfile:
    title = f"Profiling {device.name}: {runtime.name}, hidden size {request.hidden_size}, {request.workload}"
    with device.in_force(), progress.step(title) as advance:
        profile = run_profile(device, runtime, request, progress=lambda label, share: advance(share), fresh=fresh)
    sizes = request.hidden_size, request.head_size, request.workload, request.activation
    won = (worthwhile(profile, part) for part in request.parts())
    return profile.only(*sizes, precisions=set.intersection(*map(set, won)))


def _other_profiles(
    device: Device, shape: Architecture, workload: Workload, job: Job, progress: Progress, activation: str
) -> list[LatencyProfile]:
    """The profiles of all other runtimes that work here and run any model as it is; said why of those that do not."""
    sizes = shape, workload, job.effort, progress, activation
    for name, reason in refused().items():
        if name != sparse_runtime(device):  # which says so itself
            progress.say(f"{name} is not tried: {reason}")
    found = []
    for runtime in runtimes():
        # beside onnxruntime's CUDA PyTorch is a reference, not what would be deployed
        if runtime.name != stock_name() and not runtime.skips_zeros and not isinstance(runtime, TorchCuda):
            try:
                found.append(profile_of(device, *sizes, precision=job.precision, runtime=runtime))
            except TrimfitError as error:
                progress.say(f"{runtime.name} is not tried: {error}")
    return found


def _with_sizes(
    profile: LatencyProfile,
    sizes: Sequence[int],
    shape: Architecture,
    workload: Workload,
    effort: Effort,
    progress: Progress,
    activation: str,
) -> LatencyProfile:
    """The profile and what it lacks of dense models with these hidden sizes, at its precisions."""
    for size in sizes:
        narrow = shape.model_copy(update={"hidden_size": size})
        request = _request(narrow, workload, effort, activation)
        request = replace(request, precisions=profile.precisions, sparsities=())
        runtime = get(profile.runtime_record.name)
        found = _profiled(profile.device.limited(None), runtime, request, progress, fresh=False)
        found = found.only(size, shape.head_size, workload, activation, profile.precisions)
        profile = profile.merge(found.model_copy(update={"device": profile.device, "contests": ()}))
    return profile


def _anchored(
    profile: LatencyProfile, baselines: Iterable[Baseline], shape: Architecture, workload: Workload
) -> Engine:
    """The engine of a profile that has learned what the teacher takes, with nothing of it in fp32 at a lower one."""
    mine = (b for b in baselines if b.runtime == profile.runtime_record.name)
    seen = (anchors_of("teacher", shape, workload, b.precision, b.plain_by_length or b.by_length) for b in mine)
    return Engine.of(profile.with_anchor(*chain.from_iterable(seen)))


def _check_precision(precision: str | None) -> None:
    known = dict.fromkeys(p for runtime in runtimes() for p in runtime.precisions)
    if precision not in (None, *known):
        raise TrimfitError(f"got --precision {precision}, expected one of {', '.join(known)}")


def _check_profiled(precision: str | None, profiles: Sequence[LatencyProfile]) -> None:
    known = dict.fromkeys(p for profile in profiles for p in profile.precisions)
    if precision not in (None, *known):
        raise TrimfitError(
            f"got --precision {precision}, expected one that could be profiled here: {', '.join(known)}; what was said"
            " of the other runtimes above tells why"
        )


def _check_pattern(pattern: str | None, student: Path | None) -> None:
    if groups := n_of_m_named(pattern or ""):
        n, m = groups
        NOfM(n=n, m=m)
        if not any(has_kernel(runtime, n, m) for runtime in runtimes()):
            raise TrimfitError(
                f"got --pattern {pattern}, expected zeros that a runtime here is faster with: none has a kernel for"
                f" {pattern}, no CPU's has; take unstructured or block"
            )
    elif pattern not in (None, *PATTERNS):
        raise TrimfitError(f"got --pattern {pattern}, expected one of {', '.join(PATTERNS)} or e.g. 2:4")
    if pattern == "given" and student is None:
        raise TrimfitError("got --pattern given without a student: name its folder with --student")


def _check_zeros_by(zeros_by: str) -> None:
    if zeros_by not in ZEROS_BY:
        raise TrimfitError(f"got --zeros-by {zeros_by}, expected one of {', '.join(ZEROS_BY)}")


def _check_importance(importance: str) -> None:
    if importance not in IMPORTANCES:
        raise TrimfitError(f"got --importance {importance}, expected one of {', '.join(IMPORTANCES)}")


def _prices(profiles: Sequence[LatencyProfile], shape: Architecture, workload: Workload) -> list[PricesAt]:
    return [
        PricesAt(latency, shape, workload, precision)
        for profile, latency in ((profile, LatencyModel().fit(profile)) for profile in profiles)
        for precision in profile.precisions
    ]


def _refuse_impossible(
    job: Job, profiles: Sequence[LatencyProfile], shape: Architecture, workload: Workload, sizes: Sequence[int] = ()
) -> None:
    """Latency does not depend on the weights: a target that nothing can reach is refused before anything is trained."""
    target = job.target
    if isinstance(target, MaxDrop):
        return
    prices = _prices(profiles, shape, workload)
    teacher_ms = prices[0].predict(shape).ms
    possible = (each.at(size) for each in prices for size in (shape.hidden_size, *sizes))
    allowed = [each for each in possible if job.precision in (None, each.precision)]
    precision, fastest = min(((each.precision, each.fastest_ms()) for each in allowed), key=lambda found: found[1])
    if target.milliseconds(teacher_ms) < fastest:
        raise TrimfitError(
            f"{target} is more than {profiles[0].device.name} can do: the fastest possible is {fastest:.2f} ms, "
            f"{teacher_ms / fastest:.1f}x (one block of one layer, {precision}): ask for less"
        )


def activation_of(model: PreTrainedModel) -> str:
    """The activation to profile with: the variants of gelu take the same time. Raises TrimfitError for another one."""
    config = model.config
    name = str(getattr(config, "hidden_act", None) or getattr(config, "activation", "gelu"))
    if name != "relu" and "gelu" not in name:
        raise TrimfitError(f"the model's activation is {name}, expected gelu or relu: others cannot be profiled yet")
    return "relu" if name == "relu" else "gelu"
