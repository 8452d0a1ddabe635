"""The main job from Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.errors import TrimfitError
from hardware_profiles.places import reach
from optimizer.cut_schedule import DEFAULT_CUT_SCHEDULE, CutSchedule
from optimizer.deployment import Deployment
from optimizer.distillation.black_box import Endpoint, teacher_named
from optimizer.distillation.catalog import DEFAULT_OBJECTIVE
from optimizer.distillation.rows import DEFAULT_RULE
from optimizer.effort import DEFAULT, Effort
from optimizer.job import Job, SeqLen
from optimizer.mobile import add_mobile
from optimizer.progress import ConsoleProgress, Progress
from optimizer.pruning.importance import DEFAULT_IMPORTANCE, Importance
from optimizer.pruning.patterns import DEFAULT_ZEROS_BY, ZerosBy
from optimizer.target import DEFAULT_TARGET, Target
from optimizer.tasks import Columns
from optimizer.workflow import run

__all__ = ["optimize"]


def optimize(
    model: str | Path,
    data: str | Path,
    out: str | Path,
    *,
    device: str = "local",
    target: Target = DEFAULT_TARGET,
    text: str = "text",
    label: str = "label",
    group: str | None = None,
    batch: int = 1,
    seq_len: SeqLen = None,
    threads: int | None = None,
    metric: str = "accuracy",
    precision: str | None = None,
    pattern: str | None = None,
    vocabulary: str | None = None,
    keep_vocabulary: Sequence[str | Path] = (),
    also_test: Sequence[str | Path] = (),
    teacher: str | Path | Endpoint | None = None,
    labels: Sequence[str] = (),
    distill: str = DEFAULT_OBJECTIVE,
    importance: Importance = DEFAULT_IMPORTANCE,
    zeros_by: ZerosBy = DEFAULT_ZEROS_BY,
    schedule: CutSchedule = DEFAULT_CUT_SCHEDULE,
    student: str | Path | None = None,
    unlabelled: Sequence[str | Path] = (),
    augment: int = 0,
    rows: str = DEFAULT_RULE,
    effort: Effort = DEFAULT,
    seed: int = 0,
    mobile: bool = False,
    progress: Progress | None = None,
) -> Deployment:
    """Measure the device, decide, compress, export and prove; return the deployment in `out`.

    Args:
        model: local Hugging Face folder: a sequence classifier, or an encoder that is fine-tuned first.
        data: csv, tsv, json lines (also .gz) or parquet file, or a folder with train/dev/test files.
        out: deployment folder; an unfinished one of the same job is finished.
        device: "local", or e.g. "local:avx2", where the sparse operators use no more than that; "cuda" or "cuda:1", a
            GPU of this machine; "ssh://user@host" or "adb://serial", where everything is measured then, while training
            happens here (on a GPU where there is one).
        target: Speedup(3), LatencyMs(5) or MaxDrop(1).
        text: column with the texts.
        label: column with the classes.
        group: column whose values are scored one by one (language, domain).
        batch: rows an inference.
        seq_len: tokens a row; None measures at the data's median and cuts only very long texts, "data" does so at the
            data's own lengths: every latency is then the mean over them.
        threads: None takes all cores of the device.
        metric: "accuracy", "macro_f1" or "weighted_f1".
        precision: "fp32", "int8" or "int8-static": the only one the student may have; None leaves it to the decision.
        pattern: "dense", "width", "uniform", "depth", "hidden" (fewer hidden dimensions, then "width"), "unstructured",
            "block", "given" or e.g. "2:4": the only way of making it smaller.
        vocabulary: "trim" removes tokens that the training texts never use, "keep" none; None trims where that saves a
            third of the parameters and the dev score does not suffer.
        keep_vocabulary: text or data files whose tokens stay, too.
        also_test: files (or folders with a test file) of the same columns and labels, e.g. of other domains, on each of
            which teacher and student are scored.
        teacher: one that is only asked: an address (an `Endpoint` says more), or files of its answers. Its answers
            label texts that have no label, and students imitate them and the model alike.
        labels: the classes, each "name" or "name=the teacher's word for it"; needed where neither data nor model name
            them in words that the teacher knows.
        distill: what the student imitates: "soft-targets", "distilbert", "tinybert", "minilm", "minilmv2" or "cofi", or
            "labels": nothing, it learns from the labels alone.
        importance: by what heads and neurons go: "second-order", "fisher", "taylor" or "magnitude".
        zeros_by: by what weights become zero, and how many in each layer: "second-order", "second-order-even",
            "magnitude", "magnitude-global" or "movement".
        schedule: "gradual", "one-shot", "lottery" or "lottery-early": in how many cuts, with which weights after each.
        student: folder of a smaller checkpoint with the same labels, or of an encoder, that races along: it is not cut.
        unlabelled: text or data files; the teacher labels their texts, and students learn from them, too.
        augment: copies of each training text, with words replaced by ones that the teacher's embeddings place near.
        rows: which training rows are used, and how: "all", "distinct", "uncertain", "disagree", "curriculum" or
            "weighted".
        effort: `optimizer.effort.FAST`, `DEFAULT` or `THOROUGH`.
        seed: of everything that is drawn.
        mobile: also write `mobile/`, see `optimizer.add_mobile`.
        progress: where to tell; None tells on standard error.

    Raises:
        TrimfitError: bad input or environment. A missed target is no error: see `deployment.manifest.target_met`.
    """
    if labels and teacher is None:
        raise TrimfitError("got labels without a teacher to give them, expected both: the data's own need no naming")
    job = Job(
        model=Path(model),
        data=Path(data),
        out=Path(out),
        columns=Columns(text, label, group),
        device=device,
        target=target,
        batch=batch,
        seq_len=seq_len,
        threads=threads,
        metric=metric,
        precision=precision,
        pattern=pattern,
        vocabulary=vocabulary,
        keep_vocabulary=tuple(map(Path, keep_vocabulary)),
        also_test=tuple(map(Path, also_test)),
        teacher=None if teacher is None else teacher_named(teacher),
        labels=tuple(labels),
        distill=distill,
        importance=importance,
        zeros_by=zeros_by,
        schedule=schedule,
        student=None if student is None else Path(student),
        unlabelled=tuple(map(Path, unlabelled)),
        augment=augment,
        rows=rows,
        effort=effort,
        seed=seed,
    )
    progress = progress or ConsoleProgress()
    with reach(device):
        deployment = run(job, progress)
    if mobile and deployment.manifest.mobile is None:
        with progress.step("Writing the files for phones"):
            return add_mobile(deployment.folder)
    return deployment
