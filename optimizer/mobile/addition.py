"""Adds `mobile/` to a deployment: its student in ORT format, checked against the packages for phones and run."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime

from benchmarks.errors import TrimfitError
from benchmarks.inputs import random_pool
from benchmarks.onnx_file import file_bytes, load_graph
from benchmarks.workload import Workload
from hardware_profiles.runtimes.sparse.library import library_path
from optimizer import files
from optimizer.deployment import Deployment
from optimizer.manifest import Manifest, MobileFacts, MobileModel
from optimizer.mobile.operators import lacking, operators_of
from optimizer.mobile.ort_file import to_ort
from optimizer.mobile.variants import Variant, variants
from optimizer.report import write_report
from optimizer.report.evidence import PAGE_NAME

__all__ = ["FOLDER", "add_mobile"]

FOLDER = "mobile"
ROWS = 4
TOLERANCE = {"fp32": 1e-5}  # of the largest logit: both files run the same arithmetic, fused differently
INT8_TOLERANCE = 0.05  # the same where an activation may be rounded to the next integer


def add_mobile(folder: Path) -> Deployment:
    """Write `mobile/` into a finished deployment, and what it holds into its manifest and its report.

    For each variant of the student there is NAME.ort, and the list of operators for a build of onnxruntime that holds
    no others. A model with sparse operators brings their library for Android. Done anew where it was done before.

    Raises TrimfitError for a folder that is no deployment, or where an ORT file's answers are not the ONNX file's.
    """
    deployment = Deployment(Path(folder))
    manifest = deployment.manifest
    with tempfile.TemporaryDirectory(prefix=".mobile-", dir=deployment.folder) as name:
        scratch, made = Path(name), Path(name) / FOLDER
        made.mkdir()
        models = [_converted(variant, made, manifest.workload) for variant in variants(deployment, scratch)]
        if any(model.lacking for model in models):
            shutil.copyfile(library := library_path("aarch64", "Android"), made / library.name)
        shutil.rmtree(deployment.folder / FOLDER, ignore_errors=True)
        os.replace(made, deployment.folder / FOLDER)
    return _noted(deployment.folder, manifest, MobileFacts(onnxruntime=onnxruntime.__version__, models=tuple(models)))


def _converted(variant: Variant, folder: Path, workload: Workload) -> MobileModel:
    ort = to_ort(variant.onnx, folder / f"{variant.name}.ort", variant.library)
    return MobileModel(
        file=f"{FOLDER}/{ort.path.name}",
        precision=variant.precision,
        deployed=variant.deployed,
        lacking=lacking(operators_of(load_graph(variant.onnx)) | ort.operators),
        onnx_bytes=file_bytes(variant.onnx),
        ort_bytes=ort.path.stat().st_size,
        max_abs_logit_difference=_difference(variant, ort.path, workload),
        rows=ROWS,
    )


def _difference(variant: Variant, ort: Path, workload: Workload) -> float:
    """Largest difference of the ORT file's logits from the ONNX file's, on made-up rows of the workload's length."""
    (point, _), *_ = workload.points()
    pool = random_pool(variant.onnx, point.model_copy(update={"batch": 1}), rows=ROWS)
    sessions = [variant.runtime.session(path, 1) for path in (variant.onnx, ort)]
    expected, got = (
        np.concatenate(
            [session.run(["logits"], {name: rows[row] for name, rows in pool.items()})[0] for row in range(ROWS)]
        )
        for session in sessions
    )
    largest = float(np.abs(got - expected).max())
    allowed = TOLERANCE.get(variant.precision, INT8_TOLERANCE) * float(np.abs(expected).max())
    if not largest <= allowed:  # NaN is a difference too
        raise TrimfitError(
            f"{ort.name} gives logits {largest:.1e} from those of the ONNX file, expected at most {allowed:.1e}:"
            " report a bug"
        )
    return largest


def _noted(folder: Path, manifest: Manifest, facts: MobileFacts) -> Deployment:
    """The manifest names the new files, then the report that was made of it."""
    kept = {name: digest for name, digest in manifest.files.items() if not name.startswith(f"{FOLDER}/")}
    new = {f"{FOLDER}/{path.name}": _digest(path) for path in sorted((folder / FOLDER).iterdir())}
    noted = manifest.model_copy(update={"mobile": facts, "files": {**kept, **new}})
    noted.write(folder)
    page = {PAGE_NAME: _digest(write_report(folder))}
    noted.model_copy(update={"files": {**noted.files, **page}}).write(folder)
    return Deployment(folder)


def _digest(path: Path) -> str:
    return f"sha256:{files.sha256(path)}"
