"""Ablation: which rows a student is distilled on, in what order and with what weight, in as many looks at rows.

    python -m benchmarks.suites.training_rows --model CLASSIFIER_FOLDER --data FOLDER --json FILE [--rows 2000]

The teacher is a fine-tuned classifier; the student has every other of its layers and starts from them. `--rows`
training rows are labelled; for `unlabelled`, `--more` of the rest join them without their labels. Every
method trains for the same number of steps (one that asks the student first: fewer, by what that costs), ends with its
best dev score and is scored on test, in PyTorch. The JSON grows by a line a run; the same command goes on.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.suites.result_file import check_conditions, write_result
from optimizer.architecture import Architecture
from optimizer.distillation.distilbert import shallow_student
from optimizer.distillation.objectives import SoftTargets
from optimizer.distillation.rows import RULES, rule_named
from optimizer.distillation.trainer import FORWARD_SHARE, Schedule, train
from optimizer.encoding import Encoded, encode
from optimizer.evaluation.comparison import agreement
from optimizer.inference import predict
from optimizer.scoring import score
from optimizer.setting import learning_rates
from optimizer.tasks import Columns, Rows, read_task
from optimizer.teacher import load_tokenizer, untrained
from optimizer.training_rows import MoreTexts

__all__ = ["main"]

METHODS: dict[str, tuple[str, int, bool]] = {
    **{name: (name, 0, False) for name in RULES},
    "augment 1": ("all", 1, False),
    "augment 4": ("all", 4, False),
    "unlabelled": ("all", 0, True),
}
"""(Rule, copies of each row with words replaced, whether unlabelled rows join)."""
EPOCHS, BATCH_SIZE, TOKENS = 6, 64, 128


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what the file lacks and print the table."""
    options = _parser().parse_args(arguments)
    conditions = {"data": options.data.name, "rows": options.rows, "more": options.more, "epochs": EPOCHS}
    kept: dict[str, Any] = {**conditions, "runs": []}
    if options.json.is_file():
        kept = json.loads(options.json.read_text(encoding="utf-8"))
        check_conditions(options.json, kept, conditions)
    for seed in range(options.seeds):
        for method in options.methods or METHODS:
            if not any((run["method"], run["seed"]) == (method, seed) for run in kept["runs"]):
                kept["runs"].append(_Study(options, seed).run(method))
                write_result(options.json, kept)
    Console(highlight=False).print(_table(kept))


class _Study:
    """The teacher, its task and the labelled rows of one seed."""

    def __init__(self, options: argparse.Namespace, seed: int) -> None:
        self.seed, self.tokenizer = seed, load_tokenizer(options.model)
        task = read_task(options.data, Columns(options.text, options.label), seed=seed)
        self.teacher, self.task = untrained(options.model, task, seed=seed)
        order = np.random.default_rng(seed).permutation(len(self.task.train))
        self.labelled = self.task.train.take(order[: options.rows])
        self.rest = self.task.train.take(order[options.rows : options.rows + options.more]).texts

    def run(self, method: str) -> dict[str, Any]:
        """Distil by one method; dev and test scores, and the share of test answers that are the teacher's."""
        name, copies, unlabelled = METHODS[method]
        rule, rows = rule_named(name), self._rows(copies, unlabelled)
        steps = EPOCHS * -(-len(self.labelled) // BATCH_SIZE)
        if rule.asks_student:
            steps = round(steps / (1 + FORWARD_SHARE * len(rows) / rule.most(len(rows))))
        depth = Architecture.of(self.teacher).depth
        student, origin = shallow_student(self.teacher, max(1, depth // 2))
        _, rate = learning_rates(self.teacher.config.hidden_size)
        with tempfile.TemporaryDirectory(prefix="trimfit-") as folder:
            report = train(
                student,
                rows,
                self._encoded(self.task.dev),
                objective=SoftTargets(),
                schedule=Schedule(steps, rate, BATCH_SIZE, seed=self.seed, rows=rule),
                metric=self.task.metric,
                folder=Path(folder),
                origin=origin,
            )
        return {"method": method, "seed": self.seed, "steps": steps, "rows": len(rows), "dev": report.best_dev,
                "seconds": report.seconds, **self._on_test(student)}  # fmt: skip

    def _rows(self, copies: int, unlabelled: bool) -> Encoded:
        more = MoreTexts(self.rest if unlabelled else (), copies)
        table = self.teacher.get_input_embeddings().weight.detach().numpy()
        room = len(self.rest) + copies * len(self.labelled)
        texts = more.join(self.labelled, room, self.tokenizer, table, self.seed).texts
        joined = Rows(texts, np.zeros(len(texts), dtype=int))
        rows = self._encoded(self.labelled)
        rows = rows.joined(self._encoded(joined)) if texts else rows
        logits = predict(self.teacher, rows, exact=False)
        labels = np.concatenate([self.labelled.labels, logits[len(self.labelled) :].argmax(axis=1)])
        return Encoded(rows.input_ids, labels, rows.pad_token_id).with_teacher(logits)

    def _encoded(self, rows: Rows) -> Encoded:
        return encode(rows, self.tokenizer, TOKENS)

    def _on_test(self, student: Any) -> dict[str, float]:
        rows = self.task.test or self.task.dev
        mine, theirs = (predict(model, self._encoded(rows)) for model in (student, self.teacher))
        metric = self.task.metric
        return {
            "test": score(rows.labels, mine, metric),
            "teacher_test": score(rows.labels, theirs, metric),
            "agreement": agreement(mine, theirs),
        }


def _table(kept: dict[str, Any]) -> Table:
    table = Table("method", "test %", "spread", "agreement %", "runs", title=f"{kept['data']}, {kept['rows']} rows")
    for method in dict.fromkeys(run["method"] for run in kept["runs"]):
        runs = [run for run in kept["runs"] if run["method"] == method]
        test = [100 * run["test"] for run in runs]
        table.add_row(
            method, f"{np.mean(test):.2f}", f"{max(test) - min(test):.2f}",
            f"{100 * np.mean([run['agreement'] for run in runs]):.2f}", str(len(runs)),
        )  # fmt: skip
    return table


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Which rows to distil on.")
    parser.add_argument("--model", type=Path, required=True, help="folder of a fine-tuned classifier")
    parser.add_argument("--data", type=Path, required=True, help="file, or folder with train/dev/test")
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=2000, help="labelled training rows")
    parser.add_argument("--more", type=int, default=8000, help="rows of the rest that serve as unlabelled")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--methods", nargs="*", choices=tuple(METHODS), help="default: all")
    parser.add_argument("--text", default="text")
    parser.add_argument("--label", default="label")
    return parser


if __name__ == "__main__":
    main()
