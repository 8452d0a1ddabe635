"""Deployed files on emulated ARM processors beside this machine: the same logits? Nothing here is a time.

    python -m benchmarks.suites.emulated [--student DEPLOYMENT] [--json FILE] [--processors cortex-a55 ...]

A student, that of a folder which `optimize` or `demo` wrote or an untrained one of the demo's architecture, is deployed
in fp32, int8 and int8-static, as ONNX and in ORT format. Its files run on texts in the aarch64 wheel of
onnxruntime under qemu, and here. Needs x86-64 Linux with apt; fetches 240 MB once.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.errors import TrimfitError
from benchmarks.suites.emulated.agreement import distance, quantum_agreement, with_integers_shown
from benchmarks.suites.emulated.machine import EmulatedMachine
from benchmarks.suites.emulated.student import DeployedStudent, deploy_student
from hardware_profiles.functional_record import FunctionalRecord, QuantumAgreement
from hardware_profiles.runtimes import OnnxRuntimeCpu
from optimizer.files import sha256
from optimizer.mobile.ort_file import to_ort

__all__ = ["PROCESSORS", "Subjects", "main"]

PROCESSORS = ("cortex-a55", "cortex-a76", "neoverse-n2")
STATIC = "int8-static"
PAGE = 140  # columns, where it is not a terminal that says
INTEGERS = f"{STATIC}-integers.onnx"  # the same model with its quantised activations as outputs


class Subjects:
    """A folder of model files with their inputs, and this machine's answers to them."""

    def __init__(self, folder: Path, student: DeployedStudent) -> None:
        self.folder, self.student = folder, student
        self.precision_of: dict[str, str] = {}
        for precision, deployment in student.folders.items():
            self._add(shutil.copyfile(deployment / "model.onnx", folder / f"{precision}.onnx"), precision)
            ort = to_ort(deployment / "model.onnx", folder / f"{precision}-mobile.ort")
            self._add(ort.path, precision)
        self._add(with_integers_shown(student.folders[STATIC] / "model.onnx", folder / INTEGERS), STATIC)
        self.expected = {name: self._answers(folder / name) for name in self.precision_of}

    def _add(self, path: Path, precision: str) -> None:
        self.precision_of[path.name] = precision
        wanted = [entry.name for entry in OnnxRuntimeCpu().session(path, 1).get_inputs()]
        np.savez(path.with_suffix(".npz"), **{name: self.student.inputs[name] for name in wanted})  # type: ignore[arg-type]

    def _answers(self, path: Path) -> dict[str, np.ndarray]:
        session = OnnxRuntimeCpu().session(path, 1)
        names = [entry.name for entry in session.get_outputs()]  # type: ignore[attr-defined]
        with np.load(path.with_suffix(".npz")) as feed:
            return dict(zip(names, session.run(names, dict(feed)), strict=True))

    def records(self, machine: EmulatedMachine, processor: str, out: Path) -> Iterator[FunctionalRecord]:
        """Run all on an emulated processor: one record a deployed file, against what its ONNX file gives here."""
        machine.answer(processor, self.folder, out)
        got = {name: dict(np.load(out / f"{Path(name).stem}.npz")) for name in self.precision_of}
        for name, precision in self.precision_of.items():
            if name == INTEGERS:
                continue
            expected = self.expected[f"{precision}.onnx"]["logits"]
            largest, relative = distance(expected, got[name]["logits"])
            yield FunctionalRecord(
                processor=processor,
                emulator=machine.emulator,
                runtime=f"onnxruntime {version('onnxruntime')}",
                reference=f"{platform.machine()}, onnxruntime {version('onnxruntime')}",
                model=name,
                sha256=sha256(self.folder / name),
                precision=precision,
                rows=self.student.rows,
                max_abs_difference=largest,
                max_relative_difference=relative,
                max_quantisation_difference=None if precision == "fp32" else self._moved_by_quantising(expected),
                quanta=self._quanta(name, got),
            )

    def _moved_by_quantising(self, logits: np.ndarray) -> float:
        return distance(self.expected["fp32.onnx"]["logits"], logits)[0]

    def _quanta(self, name: str, got: Mapping[str, dict[str, np.ndarray]]) -> QuantumAgreement | None:
        """Of the static model's file; with its integers shown it must give the same logits, bit for bit."""
        if name != f"{STATIC}.onnx":
            return None
        for answers in (self.expected, got):
            if not np.array_equal(answers[name]["logits"], answers[INTEGERS]["logits"]):
                raise TrimfitError(
                    f"got other logits from {INTEGERS}, expected those of {name}: its integers are others"
                )
        return quantum_agreement(self.expected[INTEGERS], got[INTEGERS], self.student.inputs["attention_mask"])


def main(arguments: Sequence[str] | None = None) -> None:
    """Deploy, emulate, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--student", type=Path, help="deployment folder; without it an untrained student")
    parser.add_argument("--json", type=Path, help="where the records are written")
    parser.add_argument("--processors", nargs="+", default=PROCESSORS, help="as qemu names them")
    chosen = parser.parse_args(arguments)
    machine = EmulatedMachine.fetched()
    with tempfile.TemporaryDirectory(prefix="trimfit-") as name:
        folder = Path(name)
        (folder / "models").mkdir()
        subjects = Subjects(folder / "models", deploy_student(folder / "student", chosen.student))
        records = [
            record
            for processor in chosen.processors
            for record in subjects.records(machine, processor, folder / processor)
        ]
    if chosen.json:
        content = [json.loads(record.model_dump_json()) for record in records]
        chosen.json.write_text("[\n" + ",\n".join(json.dumps(entry) for entry in content) + "\n]\n")
    _say(records)


def _say(records: Sequence[FunctionalRecord]) -> None:
    first = records[0]
    console = Console(highlight=False, width=None if sys.stdout.isatty() else PAGE)
    console.print(
        f"{first.rows} texts through {first.runtime}: emulated by {first.emulator}, against {first.reference}."
        " Differences of logits; moved by quantising: int8 here against fp32 here. Nothing was timed."
    )
    columns = ("processor", "file", "largest difference", "of the largest logit", "moved by quantising")
    shown = Table(*columns, "quantised activations that differ")
    for record in records:
        figures = record.max_abs_difference, record.max_relative_difference, record.max_quantisation_difference
        words = ("" if figure is None else f"{figure:.1e}" for figure in figures)
        shown.add_row(record.processor, record.model, *words, _in_quanta(record.quanta))
    console.print(shown)


def _in_quanta(quanta: QuantumAgreement | None) -> str:
    if quanta is None:
        return ""
    by = f", the first by {quanta.first}, the most by {quanta.most}" if quanta.differing else ""
    return f"{quanta.differing} of {quanta.values}{by}"


if __name__ == "__main__":
    main()
