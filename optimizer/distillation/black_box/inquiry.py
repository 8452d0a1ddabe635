"""Inquiry: what a black box is to be asked about a task, checked before it costs anything, asked once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from optimizer.distillation.black_box.lesson import Answers, Lesson
from optimizer.distillation.black_box.said import Said
from optimizer.progress import Progress
from optimizer.tasks import Task, check_sizes

__all__ = ["Inquiry", "Source"]


class Source(Protocol):
    """What answers."""

    @property
    def name(self) -> str:
        """To be shown."""
        ...

    def check(self, texts: Sequence[str]) -> None:
        """Say what asking about these texts takes; raise TrimfitError where that must not or cannot be."""
        ...

    def ask(self, texts: Sequence[str], advance: Callable[[float], None] = ...) -> list[Said | str]:
        """What it says of each text, or why there is nothing."""
        ...


class Inquiry:
    """What a source is to be asked about a task, and where its answers are kept for later runs of the job.

    Args:
        source: whom to ask.
        task: with rows that may lack labels.
        rows: indices to ask about in each part, from `rows_to_ask`.
        note: the file for the answers; where it is there, nobody is asked.
        data: to be named where too little is left.
        progress: where to tell.
    """

    def __init__(
        self,
        source: Source,
        task: Task,
        rows: Mapping[str, np.ndarray],
        *,
        note: Path,
        data: Path,
        progress: Progress,
    ) -> None:
        self._source, self._task, self._rows, self._note = source, task, rows, note
        self._data, self._progress = data, progress

    def check(self) -> None:
        """Raises TrimfitError where it must not or cannot be asked."""
        if not self._note.is_file():
            self._source.check([text for part in self._rows for text in self._texts(part)])

    def give(self) -> Lesson:
        """Ask, or take what an earlier run of the job was told. Raises TrimfitError."""
        if not self._note.is_file():
            texts = {part: self._texts(part) for part in self._rows}
            count = sum(map(len, texts.values()))
            with self._progress.step(f"Asking {self._source.name} about {count} rows") as advance:
                said = iter(self._source.ask([text for part in texts.values() for text in part], advance))
            answered = {part: (self._rows[part], [next(said) for _ in some]) for part, some in texts.items()}
            answers = Answers.of(self._task, answered)
            Lesson.of(self._source.name, self._task, answers)  # refuses answers that are too few
            answers.write(self._note)
        lesson = Lesson.of(self._source.name, self._task, Answers.read(self._note))
        check_sizes(lesson.task.train, lesson.task.dev, self._data)
        for sentence in lesson.sentences():
            self._progress.say(sentence)
        return lesson

    def _texts(self, part: str) -> list[str]:
        return [self._task.parts[part].texts[row] for row in self._rows[part]]
