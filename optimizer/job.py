"""Job: what was asked, its folder on disk, and which of its stages are done."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from benchmarks.errors import TrimfitError
from hardware_profiles.device import resolve
from optimizer import files
from optimizer.cut_schedule import DEFAULT_CUT_SCHEDULE, CutSchedule
from optimizer.distillation.black_box.endpoint import Endpoint
from optimizer.distillation.catalog import DEFAULT_OBJECTIVE
from optimizer.distillation.rows import DEFAULT_RULE
from optimizer.effort import DEFAULT, Effort
from optimizer.model_folder import inspect_folder
from optimizer.pruning.importance import DEFAULT_IMPORTANCE, Importance
from optimizer.pruning.patterns import DEFAULT_ZEROS_BY, ZerosBy
from optimizer.table_files import data_files, scored_file
from optimizer.target import DEFAULT_TARGET, Target
from optimizer.tasks import Columns

__all__ = ["DATA", "Job", "SeqLen"]

SeqLen = int | Literal["data"] | None
"""Tokens a row; "data": as many as the data's rows have; None: the data's median."""
DATA: Literal["data"] = "data"

WORK = ".trimfit"
COPIES = 14  # of the teacher's weights that a job has on disk at its largest: checkpoints, exports, students


@dataclass(frozen=True)
class Job:
    """One request: model, data, device, target. Its folder holds the deployment and, until then, the work."""

    model: Path
    data: Path
    out: Path
    columns: Columns = field(default_factory=Columns)
    device: str = "local"
    target: Target = DEFAULT_TARGET
    batch: int = 1
    seq_len: SeqLen = None
    threads: int | None = None
    metric: str = "accuracy"
    precision: str | None = None  # the only one the student may have
    pattern: str | None = None  # the only way it may be made smaller
    vocabulary: str | None = None  # "keep" or "trim"; None leaves it to what trimming saves
    keep_vocabulary: tuple[Path, ...] = ()  # texts whose tokens stay
    also_test: tuple[Path, ...] = ()  # sets that are scored besides
    teacher: Endpoint | Path | None = None  # that is only asked; a path is that of its answers
    labels: tuple[str, ...] = ()  # NAME or NAME=WORD
    distill: str = DEFAULT_OBJECTIVE
    importance: Importance = DEFAULT_IMPORTANCE
    zeros_by: ZerosBy = DEFAULT_ZEROS_BY
    schedule: CutSchedule = DEFAULT_CUT_SCHEDULE
    student: Path | None = None  # a smaller checkpoint that races along
    unlabelled: tuple[Path, ...] = ()  # texts that the teacher labels
    augment: int = 0  # copies of each training row with words replaced
    rows: str = DEFAULT_RULE  # which of them a distillation uses, and how
    effort: Effort = DEFAULT
    seed: int = 0
    _last: list[float] = field(default_factory=lambda: [time.monotonic()], compare=False, repr=False)

    @property
    def tokens(self) -> int | None:
        """Tokens a row as asked; None where the data says. Raises TrimfitError for a word other than "data"."""
        if isinstance(self.seq_len, str) and self.seq_len != DATA:
            raise TrimfitError(f'got seq_len {self.seq_len!r}, expected a number of tokens or "{DATA}"')
        return None if self.seq_len == DATA else self.seq_len

    @property
    def work(self) -> Path:
        """Where unfinished stages live."""
        return self.out / WORK

    def check(self) -> None:
        """See that the output folder is free, or this very job's; writes nothing.

        Raises TrimfitError when the folder holds another job or other files, or the disk is too full.
        """
        note = self.out / WORK / "job.json"
        asked = self._identity()
        if note.is_file():
            known = json.loads(note.read_text(encoding="utf-8"))["asked"]
            for name, value in asked.items():
                if known.get(name) != value:
                    raise TrimfitError(
                        f"{self.out} holds another job ({name} was {known.get(name)}, now {value}): "
                        "choose another --out"
                    )
            return
        if self.out.exists() and (not self.out.is_dir() or any(self.out.iterdir())):
            raise TrimfitError(f"{self.out} exists and holds something else: choose another --out")
        models = [self.model, *([self.student] if self.student else [])]
        size = sum(file.stat().st_size for model in models for file in inspect_folder(model).files)
        files.require_space(self.out, COPIES * size + (64 << 20))

    def open(self) -> None:
        """Claim the output folder by a note of what was asked. Raises TrimfitError while another run is at work."""
        note = self.out / WORK / "job.json"
        if not note.is_file():
            files.write_text_atomically(note, json.dumps({"asked": self._identity(), "seconds": 0.0}, indent=1))
        files.lock(self.work / "lock")

    def tick(self) -> float:
        """Add the time since the last call to the job's account; return its minutes, interrupted runs included."""
        note = self.out / WORK / "job.json"
        known = json.loads(note.read_text(encoding="utf-8"))
        now = time.monotonic()
        known["seconds"] += now - self._last[0]
        self._last[0] = now
        files.write_text_atomically(note, json.dumps(known, indent=1))
        return float(known["seconds"]) / 60

    def _identity(self) -> dict[str, object]:
        return {
            "model": _digest((*inspect_folder(self.model).files, *_beside(self.model))),
            "data": _digest(tuple(data_files(self.data).values())),
            "columns": [self.columns.text, self.columns.label, self.columns.group],
            "device": resolve(self.device).fingerprint,
            "target": str(self.target),
            "workload": [self.batch, self.seq_len, self.threads],
            "metric": self.metric,
            "precision": self.precision,
            "pattern": self.pattern,
            "vocabulary": [self.vocabulary, _digest(self.keep_vocabulary)],
            "also_test": _digest(tuple(scored_file(path) for path in self.also_test)),
            "teacher": self._teacher_identity(),
            "distill": self.distill,
            "importance": self.importance,
            "zeros_by": self.zeros_by,
            "schedule": self.schedule,
            "effort": self.effort.name,
            "seed": self.seed,
            **self._asked_besides(),
        }

    def _asked_besides(self) -> dict[str, object]:
        """What most jobs do not ask for; None is what a job of before was asked."""
        student = (*inspect_folder(self.student).files, *_beside(self.student)) if self.student else ()
        return {
            "student": _digest(student) if student else None,
            "unlabelled": _digest(self.unlabelled) if self.unlabelled else None,
            "augment": self.augment or None,
            "rows": None if self.rows == DEFAULT_RULE else self.rows,
        }

    def _teacher_identity(self) -> list[object] | None:
        if self.teacher is None:
            return None
        if isinstance(self.teacher, Endpoint):
            return [self.teacher.name, self.teacher.identity, *self.labels]
        return [_digest(tuple(data_files(self.teacher).values())), *self.labels]


def _beside(folder: Path) -> tuple[Path, ...]:
    """The small files that decide what a model says."""
    return tuple(path for name in ("config.json", "tokenizer.json", "vocab.txt") if (path := folder / name).is_file())


def _digest(paths: tuple[Path, ...]) -> str:
    whole = hashlib.sha256()
    for path in paths:
        if not path.is_file():
            raise TrimfitError(f"no such file: {path}: check what was named")
        whole.update(files.sha256(path).encode())
    return whole.hexdigest()[:16]
