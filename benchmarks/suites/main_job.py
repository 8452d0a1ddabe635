"""The main job on real data, start to finish: what was promised, what was measured.

    python -m benchmarks.suites.main_job --case sst2 --model MINILM_FOLDER --data FOLDER --json FILE [--picture SVG]
    python -m benchmarks.suites.main_job --case afrisenti --model E5_FOLDER --data FOLDER --json FILE

`sst2`: speed-up 3 at 64 tokens on one thread, `--fast`. `afrisenti`: five languages (hau ibo pcm swa yor), speed-up 3
against the data's median length on one thread, weighted F1, scores by language, `--fast`. Seed 0. The JSON holds the
manifest, the decision, the wall minutes and the conditions; the work stays in `--out` and goes on when started again.
"""

from __future__ import annotations

import argparse
import gzip
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import read_environment
from optimizer import Deployment, Speedup, optimize
from optimizer.effort import DEMO, FAST, Effort
from optimizer.report import headline, picture

__all__ = ["main"]

LANGUAGES = ("hau", "ibo", "pcm", "swa", "yor")
CASES: dict[str, dict[str, Any]] = {
    "sst2": {"target": Speedup(3), "seq_len": 64, "threads": 1},
    "afrisenti": {"target": Speedup(3), "threads": 1, "group": "lang", "metric": "weighted_f1"},
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one case, print its headline and table, write the JSON."""
    options = _parser().parse_args(arguments)
    effort: Effort = DEMO if options.quick else FAST
    out = options.out or Path(tempfile.mkdtemp(prefix="trimfit-")) / options.case
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="trimfit-data-") as folder:
        data = _languages(options.data, Path(folder)) if options.case == "afrisenti" else options.data
        deployment = optimize(options.model, data, out, effort=effort, seed=0, **CASES[options.case])
    console = Console(highlight=False)
    console.print(headline(deployment.manifest))
    console.print(_table(deployment))
    if options.json:
        options.json.write_text(
            json.dumps(_result(options.case, deployment, time.monotonic() - start), indent=1) + "\n"
        )
    if options.picture:
        options.picture.write_text(picture(deployment.manifest, deployment.decision), encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="The main job on real data.")
    parser.add_argument("--case", choices=tuple(CASES), required=True)
    parser.add_argument("--model", type=Path, required=True, help="Hugging Face folder of the encoder")
    parser.add_argument("--data", type=Path, required=True, help="folder with train/dev/test.jsonl.gz")
    parser.add_argument("--out", type=Path, help="deployment folder; the same one goes on where it was stopped")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--picture", type=Path, help="SVG of accuracy against latency")
    parser.add_argument("--quick", action="store_true", help="train only as long as the demo does")
    return parser


def _languages(data: Path, folder: Path) -> Path:
    """A copy of the data with the rows of LANGUAGES only."""
    for file in data.glob("*.jsonl.gz"):
        with gzip.open(file, "rt", encoding="utf-8") as lines, (folder / file.stem).open("w", encoding="utf-8") as copy:
            copy.writelines(line for line in lines if json.loads(line)["lang"] in LANGUAGES)
    return folder


def _table(deployment: Deployment) -> Table:
    manifest = deployment.manifest
    table = Table("", "teacher", "student", "difference")
    for part in ("dev", "test"):
        teacher, student = getattr(manifest.teacher, part), getattr(manifest.student, part)
        table.add_row(f"{manifest.teacher.metric}, {part}", *_scores(teacher, student))
    worst_first = sorted(manifest.student.groups.items(), key=lambda entry: entry[1].student - entry[1].teacher)
    for name, group in worst_first:
        table.add_row(f"{name} ({group.rows} rows)", *_scores(group.teacher, group.student))
    return table


def _scores(teacher: float, student: float) -> tuple[str, str, str]:
    return f"{100 * teacher:.1f}", f"{100 * student:.1f}", f"{100 * (student - teacher):+.1f}"


def _result(case: str, deployment: Deployment, seconds: float) -> dict[str, Any]:
    return {
        "case": case,
        "wall_minutes": seconds / 60,
        "environment": read_environment().model_dump(mode="json"),
        "manifest": deployment.manifest.model_dump(mode="json"),
        "decision": deployment.decision.model_dump(mode="json"),
    }


if __name__ == "__main__":
    main()
