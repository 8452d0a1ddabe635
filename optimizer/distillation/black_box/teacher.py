"""BlackBox: the teacher of a job that is known by its answers only."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from benchmarks.errors import TrimfitError
from optimizer.distillation.black_box.client import Client
from optimizer.distillation.black_box.endpoint import Endpoint
from optimizer.distillation.black_box.inquiry import Inquiry, Source
from optimizer.distillation.black_box.label_set import LabelSet, parse_labels
from optimizer.distillation.black_box.lesson import rows_to_ask
from optimizer.distillation.black_box.outputs_file import OutputsFile, labels_in, outputs_by_text
from optimizer.progress import Progress
from optimizer.tasks import Columns, Task, Unlabelled

__all__ = ["BlackBox", "teacher_named"]

GENERIC = re.compile(r"LABEL_\d+", re.IGNORECASE)


def teacher_named(teacher: str | Path | Endpoint, **fields: object) -> Endpoint | Path:
    """A teacher as a person names it: an address, a JSON file that describes an endpoint, or files of its answers.

    `fields` of the endpoint that are not None count more than the file's.
    Raises TrimfitError for an address that is none, and for fields beside files of answers, which have none.
    """
    given = {name: value for name, value in fields.items() if value is not None}
    if isinstance(teacher, Endpoint):
        return teacher
    if str(teacher).lower().startswith(("http:", "https:")):
        return Endpoint.of(url=str(teacher), **given)
    path = Path(teacher)
    if path.suffix.lower() == ".json" and path.is_file() and _describes_endpoint(path):
        return Endpoint.read(path, **given)
    if given:
        raise TrimfitError(
            f"got --teacher {teacher} with --teacher-{next(iter(given)).replace('_', '-')}, expected an address "
            "(https://...) or a JSON file with its url"
        )
    return path


def _describes_endpoint(path: Path) -> bool:
    start = path.read_text(encoding="utf-8", errors="replace").lstrip()
    return start.startswith("{") and '"url"' in start


class BlackBox:
    """A teacher of a job that is known by its answers only.

    Args:
        teacher: from `teacher_named`.
        labels: as the person named them, each `NAME` or `NAME=WORD`.
        data: the data.
        columns: of the data.

    Raises TrimfitError for labels and files that cannot be.
    """

    def __init__(self, teacher: Endpoint | Path, labels: Sequence[str], data: Path, columns: Columns) -> None:
        self.teacher, self._labels = teacher, parse_labels(labels)
        self._outputs = outputs_by_text(teacher, data, columns) if isinstance(teacher, Path) else {}
        self._data = data

    def unlabelled(self, model: tuple[str, ...]) -> Unlabelled:
        """The classes that unlabelled rows may get: those named, or else the file's, or else the `model`'s own."""
        otherwise = labels_in(self._outputs) or model
        return Unlabelled(self._labels.names if self._labels else (), otherwise)

    def inquiry(self, task: Task, seed: int, work: Path, progress: Progress) -> Inquiry:
        """See what asking about a task takes, unless it was done before; nothing is asked yet.

        Raises TrimfitError where it costs too much, cannot be reached, or has nothing to say.
        """
        labels = (self._labels or LabelSet(task.labels, task.labels)).in_order_of(task.labels)
        source: Source
        most = None
        if isinstance(self.teacher, Endpoint):
            if self.teacher.is_chat and all(map(GENERIC.fullmatch, labels.words)):
                raise TrimfitError(
                    f"the labels are {', '.join(labels.words)}, which say nothing to {self.teacher.name}: name them "
                    f"with --labels {labels.names[0]}=WORD,..."
                )
            source, most = Client(self.teacher, labels, say=progress.say), self.teacher.rows
        else:
            source = OutputsFile(self.teacher, self._outputs, labels)
        rows = rows_to_ask(task, most, seed)
        inquiry = Inquiry(source, task, rows, note=work / "answers.npz", data=self._data, progress=progress)
        inquiry.check()
        return inquiry
