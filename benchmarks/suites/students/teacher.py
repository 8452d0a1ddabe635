"""The study's teacher: fine-tuned once for all rows, so that they differ by the student alone."""

from __future__ import annotations

from pathlib import Path

from benchmarks.suites.students.data_sets import DATA_SETS
from optimizer.effort import DEFAULT
from optimizer.model_folder import inspect_folder
from optimizer.progress import Progress
from optimizer.tasks import Columns, read_task
from optimizer.teacher import encode_parts, load_tokenizer, prepare_teacher, token_limit, untrained

__all__ = ["fine_tuned"]

SEED = 0


def fine_tuned(name: str, model: Path, data: Path, work: Path, progress: Progress) -> Path:
    """The folder of the classifier: `model` itself, or where it is an encoder what it becomes on `data`, in `work`."""
    if inspect_folder(model).has_classifier:
        return model
    options = dict(zip(DATA_SETS[name].options[::2], DATA_SETS[name].options[1::2], strict=True))
    columns, metric = Columns(group=options.get("--group")), options.get("--metric", "accuracy")
    if not (work / "model").is_dir():
        task = read_task(data, columns, metric=metric, seed=SEED)
        encoder, task = untrained(model, task, seed=SEED)
        tokenizer = load_tokenizer(model)
        rows, max_tokens = encode_parts(task, tokenizer, token_limit(encoder.config, tokenizer), None)
        settings = {"effort": DEFAULT, "seed": SEED, "work": work, "progress": progress, "max_tokens": max_tokens}
        prepare_teacher(model, encoder, task, rows, tokenizer, **settings)  # type: ignore[arg-type]
    return work / "model"
