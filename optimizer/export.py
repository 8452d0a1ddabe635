"""Export: PyTorch model to one ONNX file, and the proof that both give the same logits.

The only module that imports optimum.
"""

from __future__ import annotations

import copy
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from pydantic import BaseModel, ConfigDict
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from benchmarks.errors import TrimfitError
from optimizer.quiet import quiet

__all__ = ["ExportReport", "ParityReport", "export_onnx", "parity", "predict_onnx"]

FP32_TOLERANCE = 1e-4  # logits; a faithful export differs by float rounding, about 1e-6
Batch = Mapping[str, Any]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ExportReport(_Record):
    """The ONNX file: bytes with external data, graph nodes, input names, and the seconds it took."""

    onnx_bytes: int
    nodes: int
    inputs: tuple[str, ...]
    seconds: float


class ParityReport(_Record):
    """How far the ONNX file's logits are from PyTorch's, over so many rows."""

    max_abs_logit_difference: float
    rows: int


def export_onnx(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, path: Path) -> tuple[Path, ExportReport]:
    """Write a sequence classifier as ONNX, any batch size and sequence length, complete or not at all.

    Args:
        model: of any shape that `surgery.keep` makes; unchanged afterwards.
        tokenizer: the model's.
        path: the file to write or replace, in an existing folder. Weights above 2 GB go to a file beside it.

    Source: optimum.exporters.onnx.onnx_export_from_model.
    """
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix=".export-", dir=path.parent) as temporary:
        folder = Path(temporary)
        with _evaluating(model), _on_cpu(model), _lent_config(model, folder):
            _export(model, tokenizer, folder)
        _restore_mask(folder / "model.onnx")
        exported = _with_name(folder / "model.onnx", path.name)
        report = _describe(exported, time.perf_counter() - start)
        for file in sorted(folder.glob(f"{path.name}*"), reverse=True):  # external data first, then the model
            os.replace(file, path.parent / file.name)
    return path, report


def predict_onnx(session: Any, batches: Iterable[Batch]) -> np.ndarray:
    """Logits [rows, labels] of an onnxruntime session on encoded batches.

    Args:
        session: an `onnxruntime.InferenceSession` of an exported classifier.
        batches: what a tokenizer returns, arrays or tensors [rows, tokens]; entries that the model does not
            take (labels) are passed over, and `token_type_ids` are zeros where the tokenizer gives none.
    """
    return np.concatenate([session.run(["logits"], _feed(session, batch))[0] for batch in batches])


def parity(
    model: PreTrainedModel,
    session: Any,
    batches: Iterable[Batch],
    tolerance: float = FP32_TOLERANCE,
    form: str = "ONNX",
) -> ParityReport:
    """Compare an exported model's logits with those of the PyTorch model, on real encoded batches.

    Raises TrimfitError when they differ by more than `tolerance` anywhere; `form` is what it calls the file.
    """
    feeds = [_feed(session, batch) for batch in batches]
    got = predict_onnx(session, feeds)
    expected = _torch_logits(model, feeds)
    largest = float(np.abs(got - expected).max())
    if not largest <= tolerance:  # NaN is a difference too
        row = int(np.abs(got - expected).max(axis=1).argmax())
        raise TrimfitError(
            f"the {form} file gives row {row} logits {_shown(got[row])}, expected PyTorch's "
            f"{_shown(expected[row])} within {tolerance:.0e} (difference {largest:.1e}): report a bug"
        )
    return ParityReport(max_abs_logit_difference=largest, rows=len(got))


def _shown(logits: np.ndarray) -> str:
    return "[" + ", ".join(f"{logit:.5f}" for logit in logits[:4]) + ("" if len(logits) <= 4 else ", ...") + "]"


def _feed(session: Any, batch: Batch) -> dict[str, np.ndarray]:
    given = {name: np.asarray(values) for name, values in batch.items()}
    if "input_ids" in given:
        given.setdefault("token_type_ids", np.zeros_like(given["input_ids"]))
    names = [entry.name for entry in session.get_inputs()]
    missing = [name for name in names if name not in given]
    if missing:
        raise TrimfitError(f"got a batch of {', '.join(batch)}, expected {', '.join(names)}: {missing[0]} is missing")
    return {name: given[name].astype(np.int64) for name in names}


def _torch_logits(model: PreTrainedModel, feeds: Iterable[Mapping[str, np.ndarray]]) -> np.ndarray:
    logits = []
    with _evaluating(model), torch.no_grad():
        for feed in feeds:
            inputs = {name: torch.from_numpy(values).to(model.device) for name, values in feed.items()}
            logits.append(model(**inputs).logits.float().cpu().numpy())
    return np.concatenate(logits)


@contextmanager
def _evaluating(model: PreTrainedModel) -> Iterator[None]:
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


@contextmanager
def _on_cpu(model: PreTrainedModel) -> Iterator[None]:
    """Where optimum's example inputs are; then as before."""
    before = model.device
    model.to("cpu")
    try:
        yield
    finally:
        model.to(before)


@contextmanager
def _lent_config(model: PreTrainedModel, folder: Path) -> Iterator[None]:
    """Undo what optimum does to the config, and let it look for a tokenizer in `folder`, never at a hub."""
    fields = vars(model.config)
    before = copy.deepcopy(fields)
    model.config._name_or_path = str(folder)
    try:
        yield
    finally:
        fields.clear()
        fields.update(before)


def _export(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    with quiet():
        from optimum.exporters.onnx import onnx_export_from_model  # seconds to import, and noisy: see quiet

        onnx_export_from_model(
            model, folder, task="text-classification", preprocessors=[tokenizer], do_validation=False
        )


def _restore_mask(path: Path) -> None:
    """Keep `attention_mask` an input where no attention is left to read it: callers always pass it."""
    model = onnx.load(path, load_external_data=False)
    inputs = {entry.name: entry for entry in model.graph.input}
    if "attention_mask" not in inputs:
        mask = model.graph.input.add()
        mask.CopyFrom(inputs["input_ids"])
        mask.name = "attention_mask"
        onnx.save(model, path)


def _with_name(exported: Path, name: str) -> Path:
    """Give an exported file its final name; external data, named inside, is written anew."""
    target = exported.with_name(name)
    if target == exported:
        return target
    if exported.with_name("model.onnx_data").exists():
        graph = onnx.load(exported)
        onnx.save_model(graph, target, save_as_external_data=True, location=f"{name}_data")
    else:
        exported.rename(target)
    return target


def _describe(path: Path, seconds: float) -> ExportReport:
    graph = onnx.load(path, load_external_data=False).graph
    return ExportReport(
        onnx_bytes=sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*")),
        nodes=len(graph.node),
        inputs=tuple(entry.name for entry in graph.input),
        seconds=seconds,
    )
