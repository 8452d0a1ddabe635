"""Lesson: a task with what a black box said of its rows: labels where there were none, and targets to distil from."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.errors import TrimfitError
from optimizer import files
from optimizer.distillation.black_box.distribution import logits_of, mixed, smoothed
from optimizer.distillation.black_box.said import Said
from optimizer.encoding import Encoded
from optimizer.evaluation.calibration import softmax
from optimizer.manifest import BlackBoxFacts
from optimizer.scoring import score
from optimizer.tasks import Rows, Task

__all__ = ["SHARE", "Answers", "Lesson", "combined", "rows_to_ask"]

SHARE = 0.5  # of the black box in what students imitate; the rest is the local model's
HELD_OUT_ROWS = 1000  # of dev and of test, where they have labels: enough to say how good the teacher is


def combined(black_box: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Logits of what students imitate: both teachers as one, see `distribution.mixed`; all [n, classes] and logits."""
    return logits_of(mixed(softmax(black_box), softmax(own), SHARE)).astype(np.float32)


def rows_to_ask(task: Task, most: int | None, seed: int) -> dict[str, np.ndarray]:
    """Indices of the rows that are asked about in each part, sorted.

    Of train all, or at most so many; of dev and test all that have no label, else enough to score the teacher.
    """

    def drawn(rows: Rows, count: int | None) -> np.ndarray:
        if count is None or count >= len(rows):
            return np.arange(len(rows))
        return np.sort(np.random.default_rng(seed).choice(len(rows), count, replace=False))

    def most_of(part: str, rows: Rows) -> int | None:
        return most if part == "train" else HELD_OUT_ROWS if (rows.labels >= 0).all() else None

    return {part: drawn(rows, most_of(part, rows)) for part, rows in task.parts.items()}


@dataclass(frozen=True)
class Answers:
    """What was said of the rows of each part: probabilities [rows, classes], NaN where nothing was.

    `without` counts rows that were asked about in vain by the reason, `probable` is the share of the answers that were
    more than a label.
    """

    parts: dict[str, np.ndarray]
    asked: int
    without: dict[str, int]
    probable: float

    @classmethod
    def of(cls, task: Task, said: Mapping[str, tuple[np.ndarray, list[Said | str]]]) -> Answers:
        """From (indices, what was said of these rows) of each part."""
        parts, without, probable, asked = {}, Counter[str](), 0, 0
        for part, (indices, answers) in said.items():
            parts[part] = np.full((len(task.parts[part]), len(task.labels)), np.nan)
            asked += len(answers)
            for row, answer in zip(indices, answers, strict=True):
                if isinstance(answer, Said):
                    parts[part][row] = answer.distribution
                    probable += answer.has_probabilities
                else:
                    without[answer] += 1
        return cls(parts, asked, dict(without), probable / max(1, asked - sum(without.values())))

    def write(self, path: Path) -> None:
        """Keep them for a later run of the same job, which then asks nobody."""
        note = json.dumps({"asked": self.asked, "without": self.without, "probable": self.probable})

        def fill(part: Path) -> None:
            with part.open("wb") as file:
                np.savez(file, note=np.array(note), **self.parts)  # type: ignore[arg-type]

        files.write_atomically(path, fill)

    @classmethod
    def read(cls, path: Path) -> Answers:
        """Read what `write` wrote."""
        with np.load(path) as known:
            note = json.loads(str(known["note"]))
            return cls({part: known[part] for part in known.files if part != "note"}, **note)


@dataclass(frozen=True)
class Lesson:
    """A task in which every row has a label: its own, or the black box's where it has none.

    `kept` are the indices of the rows that stay in each part. Training rows without an answer are taught by their own
    label and go where they have none, as do unlabelled rows of dev and test.
    """

    name: str
    task: Task
    kept: dict[str, np.ndarray]
    answers: Answers
    by_teacher: tuple[str, ...]  # parts that had no label of their own

    @classmethod
    def of(cls, name: str, task: Task, answers: Answers) -> Lesson:
        """Raises TrimfitError where most rows that were asked about have no answer."""
        if 2 * sum(answers.without.values()) > answers.asked:
            raise TrimfitError(
                f"{name} gave no answer for {sum(answers.without.values())} of {answers.asked} texts "
                f"({_reasons(answers.without)}), expected one for most: check --labels and the teacher's answers"
            )
        kept, by_teacher, parts = {}, [], {}
        for part, q in answers.parts.items():
            rows = task.parts[part]
            answered = ~np.isnan(q).any(axis=1)
            kept[part] = np.flatnonzero(answered | (rows.labels >= 0))
            if not (rows.labels >= 0).any():
                by_teacher.append(part)
            labels = np.where(rows.labels < 0, np.nan_to_num(q).argmax(axis=1), rows.labels)
            parts[part] = replace(rows, labels=labels).take(kept[part])
        taught = replace(task, train=parts["train"], dev=parts["dev"], test=parts.get("test"))
        return cls(name, taught, kept, answers, tuple(by_teacher))

    def encoded(self, rows: Mapping[str, Encoded]) -> dict[str, Encoded]:
        """The rows that stay, with their labels, and beside those of train the black box's answers as logits."""
        parts = self.task.parts
        found = {p: replace(encoded.take(self.kept[p]), labels=parts[p].labels) for p, encoded in rows.items()}
        return {**found, "train": found["train"].with_teacher(logits_of(self.targets))}

    @property
    def targets(self) -> np.ndarray:
        """Probabilities [training rows, classes]; of a row without an answer its own label stands for one."""
        q = self.answers.parts["train"][self.kept["train"]]
        own = np.stack([smoothed(label, len(self.task.labels)) for label in self.task.train.labels])
        return np.where(np.isnan(q), own, q)

    def of_part(self, part: str) -> np.ndarray:
        """Its probabilities [rows, classes] on a part of the task, NaN where nothing was said."""
        return self.answers.parts[part][self.kept[part]]

    def score(self, part: str) -> float | None:
        """Its own score on the labels of a part; None where these are its own, or it was not asked."""
        if part not in self.kept or part in self.by_teacher:
            return None
        rows, q = self.task.parts[part], self.of_part(part)
        answered = ~np.isnan(q).any(axis=1)
        return score(rows.labels[answered], q[answered], self.task.metric) if answered.any() else None

    def sentences(self) -> list[str]:
        """What is worth saying of it."""
        found = [f"teacher {self.name}: {self.answers.probable:.0%} of the answers with probabilities"]
        if self.answers.without:
            found.append(
                f"{sum(self.answers.without.values())} of {self.answers.asked} texts without an answer "
                f"({_reasons(self.answers.without)}): those without a label are left out"
            )
        never = [name for k, name in enumerate(self.task.labels) if not (self.task.train.labels == k).any()]
        if never:
            found.append(f"warning: no training text is labelled {', '.join(never)}")
        if "dev" in self.by_teacher:
            found.append(f"{' and '.join(self.by_teacher)}: labelled by the teacher, scores are agreement with it")
        value = self.score("dev")
        if value is not None:
            found.append(f"teacher {self.name}: dev {self.task.metric} {value:.4f}")
        return found

    def facts(self, part: str, teacher: np.ndarray, student: np.ndarray) -> BlackBoxFacts:
        """For the manifest: beside it the answers of the local model and of its student, logits [rows, classes]."""
        q = self.of_part(part)
        answered = ~np.isnan(q).any(axis=1)
        said = q[answered].argmax(axis=1)

        def equal(logits: np.ndarray) -> float | None:
            return float((logits[answered].argmax(axis=1) == said).mean()) if answered.any() else None

        return BlackBoxFacts(
            name=self.name,
            asked=self.answers.asked,
            without=self.answers.without,
            with_probabilities=self.answers.probable,
            labelled=self.by_teacher,
            dev=self.score("dev"),
            test=self.score("test"),
            rows=int(answered.sum()),
            agreement_teacher=equal(teacher),
            agreement_student=equal(student),
        )


def _reasons(without: Mapping[str, int]) -> str:
    return ", ".join(f"{count}: {reason}" for reason, count in without.items())
