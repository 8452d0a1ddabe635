"""Deployment: reads the folder that `optimize` wrote, and puts a finished one in place."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from benchmarks import Measurement
from benchmarks.workload import Workload
from hardware_profiles.device import Device
from hardware_profiles.runtimes import Runtime
from optimizer import files
from optimizer.decision_record import DecisionRecord
from optimizer.deployment.options import library_of, portable_options
from optimizer.manifest import Manifest
from optimizer.model_folder import load, save
from optimizer.report import write_report

__all__ = ["Deployment", "publish", "stage_files"]

_TEMPLATES = {".mnn": "run_mnn_template.py"}  # by the ending of what is deployed; all else is for onnxruntime


@dataclass(frozen=True)
class Deployment:
    """A deployment folder: the ONNX model, how it was decided, and the measurements that prove it."""

    folder: Path

    @cached_property
    def manifest(self) -> Manifest:
        """What was deployed, how fast and how good."""
        return Manifest.read(self.folder)

    @cached_property
    def decision(self) -> DecisionRecord:
        """Every candidate with its prediction or the reason it was refused."""
        return DecisionRecord.read(self.folder)

    @property
    def onnx(self) -> Path:
        """The model as ONNX; what is deployed, unless that has another form."""
        return self.folder / "model.onnx"

    @property
    def deployed(self) -> Path:
        """The model to run, which was scored and measured."""
        note = json.loads((self.folder / "runtime.json").read_text(encoding="utf-8"))
        return self.folder / note.get("model", self.onnx.name)

    def model(self) -> PreTrainedModel:
        """The student in PyTorch, fp32, bit for bit as it was trained."""
        return load(self.folder)


def stage_files(
    stage: Path,
    *,
    model: PreTrainedModel,
    tokenizer: Any,
    onnx: Path,
    fp32: Path | None = None,
    runtime: Runtime,
    device: Device,
    workload: Workload,
    longest: int,
    measurements: Sequence[Measurement],
) -> None:
    """Fill a fresh folder with everything but the manifest and the report.

    Where the file to deploy, `onnx`, has another form, `fp32` is the ONNX file that it was made from: both are in it.
    """
    shutil.rmtree(stage, ignore_errors=True)
    (stage / "measurements").mkdir(parents=True)
    save(model, tokenizer, stage)
    deployed = f"model{onnx.suffix}"
    for path in {file.suffix: file for file in (fp32 or onnx, onnx)}.values():
        for file in path.parent.glob(f"{path.name}*"):
            shutil.copyfile(file, stage / file.name.replace(path.name, f"model{path.suffix}"))
    labels = [model.config.id2label[index] for index in range(model.config.num_labels)]
    if library := library_of(runtime):
        shutil.copyfile(library, stage / library.name)
    note = {
        "runtime": runtime.name,
        "model": deployed,
        "options": portable_options(runtime),
        "machine": f"{device.system} {device.machine}",
        "threads": workload.threads,
        "longest": longest,
        "labels": labels,
    }
    (stage / "runtime.json").write_text(json.dumps(note, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    template = _TEMPLATES.get(onnx.suffix, "run_template.py")
    shutil.copyfile(Path(__file__).with_name(template), stage / "run.py")
    for measurement in measurements:
        measurement.to_json(stage / "measurements" / f"{measurement.subject.name.replace(' ', '-')}.json")


def publish(stage: Path, out: Path, decision: DecisionRecord, manifest: Manifest) -> Deployment:
    """Add decision, manifest and report, then move all to `out`; the manifest comes last, as the sign of a whole."""
    decision.write(stage)
    manifest.model_copy(update={"files": _digests(stage)}).write(stage)
    write_report(stage)
    manifest.model_copy(update={"files": _digests(stage)}).write(stage)
    names = sorted((path.name for path in stage.iterdir()), key=lambda name: name == "manifest.json")
    for name in names:
        target = out / name
        if target.is_dir():
            shutil.rmtree(target)
        os.replace(stage / name, target)
    return Deployment(out)


def _digests(folder: Path) -> dict[str, str]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json")
    return {path.relative_to(folder).as_posix(): f"sha256:{files.sha256(path)}" for path in paths}
