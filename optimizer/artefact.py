"""Artefact: a model as the device runs it, an ONNX file at a precision, scored with the device's runtime."""

from __future__ import annotations

import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedModel

from benchmarks.inputs import graph_inputs
from benchmarks.onnx_file import load_graph
from hardware_profiles.runtimes import OnnxRuntimeCpu, Runtime
from optimizer.candidates import Candidate
from optimizer.encoding import Encoded
from optimizer.export import ParityReport, export_onnx, parity, predict_onnx
from optimizer.float_layers import FloatLayers, LinearGroup
from optimizer.linear_groups import node_names
from optimizer.scoring import score
from optimizer.setting import Setting

__all__ = ["CALIBRATION_ROWS", "Artefact", "build", "deployed_score", "feeds", "logits_of"]

PARITY_ROWS = 128
CALIBRATION_ROWS = 64  # for scales that are fixed beforehand
SCORING_THREADS = 2


@dataclass(frozen=True)
class Artefact:
    """The file to deploy, the fp32 ONNX file it was made from, and how close to PyTorch the runtime is in fp32."""

    path: Path
    fp32: Path
    parity: ParityReport
    float_layers: FloatLayers | None = None


def build(
    model: PreTrainedModel,
    tokenizer: Any,
    runtime: Runtime,
    precision: str,
    folder: Path,
    dev: Encoded,
    calibration: Encoded | None = None,
    keep: Collection[LinearGroup] = (),
) -> Artefact:
    """Export `model`, prepare the precision, and check the fp32 file (as it is deployed, if it is) against PyTorch.

    Scales that are fixed beforehand are taken from some rows of `calibration`, which only such a precision needs;
    the groups in `keep` stay in fp32.
    Where the runtime has models of another form, its conversion is checked beside the ONNX file.
    Raises TrimfitError when fp32 logits differ from PyTorch's by more than 1e-4, or than the runtime is known to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    fp32, _ = export_onnx(model, tokenizer, folder / "exported.onnx")
    some = feeds(fp32, calibration.sample(CALIBRATION_ROWS, seed=0)) if calibration is not None else None
    names = node_names(model, load_graph(fp32), keep) if keep else ()
    path = runtime.prepare(fp32, precision, folder / f"{precision}.onnx", calibration=some, keep_fp32=names)
    rows = dev.sample(PARITY_ROWS, seed=0)
    batches = [_inputs(batch) for _, batch in rows.buckets(16)]
    checked = path if precision == "fp32" else fp32
    if path.suffix != fp32.suffix:  # both are deployed
        parity(model, OnnxRuntimeCpu().session(fp32, SCORING_THREADS), batches)
    session, form = runtime.at("fp32").session(checked, SCORING_THREADS), path.suffix[1:].upper()
    return Artefact(path, fp32, parity(model, session, batches, runtime.logit_tolerance, form))


def logits_of(runtime: Runtime, path: Path, encoded: Encoded, batch_size: int = 1) -> np.ndarray:
    """Logits [rows, classes] of an ONNX file, in row order.

    `batch_size` should be the workload's: dynamic int8 scales a whole batch by its largest activation, so the answers
    of a batch are not those that single requests get.
    """
    session = runtime.session(path, SCORING_THREADS)
    rows, logits = [], []
    for index, batch in encoded.buckets(batch_size):
        rows.append(index)
        logits.append(predict_onnx(session, [_inputs(batch)]))
    ordered = np.empty_like(np.concatenate(logits))
    ordered[np.concatenate(rows)] = np.concatenate(logits)
    return ordered


def deployed_score(model: PreTrainedModel, setting: Setting, candidate: Candidate, rows: Encoded) -> float:
    """The metric of `model` on `rows` as the device would answer: exported, at the precision, with the runtime.

    What the teacher needs in fp32 at this precision stays so.
    """
    setting.work.mkdir(parents=True, exist_ok=True)
    runtime, precision = setting.runtime_of(candidate), candidate.precision
    keep = setting.float_groups(candidate, candidate.survivors)
    with tempfile.TemporaryDirectory(dir=setting.work) as name:
        folder = Path(name)
        artefact = build(model, setting.tokenizer, runtime, precision, folder, rows, setting.train, keep)
        logits = logits_of(runtime, artefact.path, rows, setting.workload.batch)
        return score(rows.labels, logits, setting.task.metric)


def feeds(onnx: Path, rows: Encoded) -> list[dict[str, np.ndarray]]:
    """Rows one by one as the inputs of an ONNX file, unpadded."""
    names = [entry.name for entry in graph_inputs(load_graph(onnx))]
    found = []
    for _, batch in rows.buckets(1):
        given = _inputs(batch)
        given["token_type_ids"] = np.zeros_like(given["input_ids"])
        found.append({name: given[name] for name in names})
    return found


def _inputs(batch: dict[str, Any]) -> dict[str, np.ndarray]:
    return {name: batch[name].numpy() for name in ("input_ids", "attention_mask")}
