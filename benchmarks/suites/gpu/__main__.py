"""What a GPU makes of encoders of BERT-base's width: predictions, advice, students and 2:4 zeros, all measured there.

    python -m benchmarks.suites.gpu --json FILE [--device cuda:0] [--minutes 9] [--parts peaks,contestants]
    python -m benchmarks.suites.gpu --json FILE --dry-run

Parts: `peaks` of the GPU's arithmetic and memory; `contestants`, the whole encoder with every runtime, precision and
option at batches 1 to 256, with warm and cold cache, memory and energy; `prediction`, 20 held-out models at each of
the batches 1, 16 and 128, predicted and measured; `advice` at batches 1 and 128; `students`, structured ones at 2x and
4x of dense fp16; `zeros`, what 2:4 brings by batch. Every step is kept in FILE as it is finished, and the same command
goes on with the next one; with --minutes nothing new is begun after so many, and the exit code is 3. `--dry-run` does
all of it with tiny sizes on this CPU in a GPU's place: does everything run? Its times mean nothing.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.errors import TrimfitError
from benchmarks.gpu.accelerator import STAND_IN
from benchmarks.gpu.place import GpuPlace, open_gpu, stand_in
from benchmarks.place import in_force
from benchmarks.suites.gpu.contestants import measure_contestants, measure_two_of_four
from benchmarks.suites.gpu.predicted import advise_at_batch, hold_out, measure_students
from benchmarks.suites.gpu.result import Result
from benchmarks.suites.gpu.sizes import BERT_BASE, TINY, Sizes
from benchmarks.suites.gpu.tables import tables
from benchmarks.suites.latency_prediction.conditions import conditions
from benchmarks.suites.latency_prediction.study import Study
from hardware_profiles.gpu_machine import gpu_peak
from hardware_profiles.runtimes import refused, runtimes, stock_name
from optimizer.progress import ConsoleProgress, Progress

__all__ = ["main", "run"]

SEED = 0
MORE_TO_DO = 3  # exit code: the time is up, the same command goes on
LOG_WIDTH = 150
COPIED = 1 << 30

Step = tuple[str, Callable[[], Any]]


@dataclass(frozen=True)
class Steps:
    """The steps of every part, each a name and what does it."""

    result: Result
    place: GpuPlace
    sizes: Sizes
    progress: Progress

    def of(self, part: str) -> Iterator[Step]:
        """The steps of a part, in order."""
        found: Iterator[Step] = getattr(self, part)()
        return found

    def peaks(self) -> Iterator[Step]:
        """Of every runtime at every precision, and of the memory."""
        for runtime in runtimes():
            if not runtime.skips_zeros:
                for precision in runtime.precisions:
                    yield f"{runtime.name} {precision}", partial(self._peak, runtime, precision)
        yield "memory", self._memory

    def contestants(self) -> Iterator[Step]:
        """The whole encoder at each batch."""
        for batch in self.sizes.batches:
            asked = self.sizes, batch, self.place, self.result.parts.get("peaks", {}), self._compiles(batch)
            yield f"batch {batch}", partial(measure_contestants, *asked)

    def prediction(self) -> Iterator[Step]:
        """Held-out models at each batch."""
        study = Study(self.result.path.with_suffix(".prediction.json"), self.result.conditions)
        for batch in self.sizes.profiled:
            asked = study, self.sizes, batch, self.progress
            yield f"batch {batch}", partial(hold_out, *asked, quick=self.sizes is TINY)

    def advice(self) -> Iterator[Step]:
        """At each batch that is advised for."""
        for batch in self.sizes.advised:
            yield f"batch {batch}", partial(advise_at_batch, self.sizes, batch, self._profiles(batch), self.progress)

    def students(self) -> Iterator[Step]:
        """At each batch that is advised for."""
        for batch in self.sizes.advised:
            yield f"batch {batch}", partial(measure_students, self.sizes, batch, self._profiles(batch), self.progress)

    def zeros(self) -> Iterator[Step]:
        """2:4 at each batch."""
        for batch in self.sizes.batches:
            yield f"batch {batch}", partial(measure_two_of_four, self.sizes, batch, self._compiles(batch))

    def _compiles(self, batch: int) -> bool:
        """Whether torch.compile takes part, which takes half a minute a model."""
        return batch in self.sizes.advised and self.place.index != STAND_IN

    def _memory(self) -> dict[str, float]:
        size = COPIED if self.place.index != STAND_IN else 1 << 20
        return {"gigabytes_per_second": round(self.place.accelerator.copy_rate(size) / 1e9, 1)}

    def _peak(self, runtime: Any, precision: Any) -> dict[str, Any]:
        return gpu_peak(runtime, precision, self.place).model_dump(mode="json")

    def _profiles(self, batch: int) -> Path:
        """Where the predictions keep the profile of a batch."""
        label = self.sizes.group(batch).label.replace(", ", "-").replace(" ", "-")
        return self.result.path.with_suffix(".prediction.profiles") / label


PARTS = ("peaks", "contestants", "prediction", "advice", "students", "zeros")


def run(steps: Steps, parts: Sequence[str], console: Console) -> bool:
    """Do what is missing of the parts; whether all of it is done."""
    for part in parts:
        for name, measure in steps.of(part):
            start = time.monotonic()
            if not steps.result.step(part, name, measure):
                console.print(f"time is up before {part}, {name}: the same command goes on there")
                return False
            if time.monotonic() - start > 1:
                console.print(f"{part}, {name}: {time.monotonic() - start:.0f} s")
    return True


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, help="where the study is kept")
    parser.add_argument("--device", default="cuda", help="cuda or cuda:N")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin nothing new after so many")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--dry-run", action="store_true", help="tiny sizes, this CPU in the place of a GPU")
    chosen = parser.parse_args(arguments)
    stop_at = time.monotonic() + 60 * chosen.minutes
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = LOG_WIDTH
    try:
        parts = _parts(chosen.parts)
        place = stand_in() if chosen.dry_run else open_gpu(chosen.device)
        with in_force(place):
            console.print(_sentence(place))
            sizes = TINY if chosen.dry_run else BERT_BASE
            result = Result(chosen.json, _conditions(place, sizes), stop_at)
            done = run(Steps(result, place, sizes, ConsoleProgress(console)), parts, console)
        for table in tables(result.parts):
            console.print(table)
    except TrimfitError as error:
        raise SystemExit(str(error)) from error
    if not done:
        raise SystemExit(MORE_TO_DO)


def _parts(asked: str) -> list[str]:
    parts = asked.split(",")
    for part in parts:
        if part not in PARTS:
            raise TrimfitError(f"got --parts {part}, expected some of {', '.join(PARTS)}")
    return parts


def _sentence(place: GpuPlace) -> str:
    """What is measured, and what is missing for the rest. Raises TrimfitError where nothing runs on the GPU."""
    missing = "; ".join(f"{name} is left out: {reason}" for name, reason in refused().items())
    found = ", ".join(f"{runtime.name} {runtime.version}" for runtime in runtimes())
    return f"{place.gpu}: {stock_name()} first of {found}" + (f"; {missing}" if missing else "")


def _conditions(place: GpuPlace, sizes: Sizes) -> dict[str, Any]:
    known = conditions(sizes.budget, sizes is TINY, SEED)
    return {
        **known,
        "gpu": place.gpu.model_dump(mode="json"),
        "provenance": place.provenance,
        "runtimes": {runtime.name: runtime.version for runtime in runtimes()},
        "refused": refused(),
        "timing": (
            "one process, models in turns, medians of the rounds' medians; a call begins with inputs in this machine's"
            " memory and ends with the logits there"
        ),
    }


if __name__ == "__main__":
    main()
