"""A student deployed at each precision, and rows of text for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.workload import Workload
from hardware_profiles.device import Device
from hardware_profiles.runtimes import OnnxRuntimeCpu
from optimizer.artefact import CALIBRATION_ROWS, build, feeds
from optimizer.demo import cache_folder, fetch_demo
from optimizer.deployment.folder import Deployment, stage_files
from optimizer.encoding import Encoded, encode
from optimizer.surgery import LayerPlan, keep
from optimizer.tasks import Columns, read_task
from optimizer.teacher import load_tokenizer, untrained

__all__ = ["PRECISIONS", "DeployedStudent", "deploy_student"]

PRECISIONS = ("fp32", "int8", "int8-static")
WIDTHS = ((6, 448), (5, 384), (4, 320), (3, 256), None, (2, 128))  # heads and neurons of each layer, as in a real cut
LONGEST = 16  # tokens: an emulated multiplication takes a hundred times longer than one
ROWS = 4


@dataclass(frozen=True)
class DeployedStudent:
    """Deployment folders by precision, and inputs [rows, tokens] by name from the tokenizer that lies in them."""

    folders: dict[str, Path]
    inputs: dict[str, np.ndarray]

    @property
    def rows(self) -> int:
        """Texts in the inputs."""
        return len(self.inputs["input_ids"])


def deploy_student(folder: Path, deployment: Path | None = None) -> DeployedStudent:
    """Write a student deployed at each precision, all its linear layers at that; its texts are the demo's.

    The student is that of a deployment of a text classifier, or without one all-MiniLM-L6-v2 cut to a student's shape
    without training: what that answers is of no use, what it computes is what a student computes. Raises TrimfitError
    where the demo's model and data cannot be had.
    """
    source, data = fetch_demo(cache_folder())
    task = read_task(data, Columns(), metric="accuracy", seed=0)
    if deployment is None:
        tokenizer = load_tokenizer(source)
        model, task = untrained(source, task, seed=0)
        plans = [LayerPlan(heads=tuple(range(w[0])), ffn=tuple(range(w[1]))) if w else None for w in WIDTHS]
        model, _ = keep(model, plans)
    else:
        tokenizer, model = load_tokenizer(deployment), Deployment(deployment).model()
    rows = encode(task.dev, tokenizer, LONGEST).sample(CALIBRATION_ROWS, seed=0)
    runtime = OnnxRuntimeCpu()
    fp32 = build(model, tokenizer, runtime, "fp32", folder / "work", rows).path
    folders = {}
    for precision in PRECISIONS:
        path = runtime.prepare(fp32, precision, fp32.with_name(f"{precision}.onnx"), calibration=feeds(fp32, rows))
        folders[precision] = folder / precision
        stage_files(
            folders[precision],
            model=model,
            tokenizer=tokenizer,
            onnx=path,
            runtime=runtime,
            device=Device(name="aarch64, emulated", machine="aarch64", system="Linux"),
            workload=Workload(batch=ROWS, seq_len=LONGEST, threads=1),
            longest=LONGEST,
            measurements=[],
        )
    return DeployedStudent(folders, _inputs(rows))


def _inputs(rows: Encoded) -> dict[str, np.ndarray]:
    """A batch of texts of different lengths, padded."""
    order = np.argsort(rows.lengths)
    picked = rows.take(order[np.linspace(0, len(order) - 1, ROWS).astype(int)])
    ((_, batch),) = picked.buckets(ROWS)
    given = {name: batch[name].numpy() for name in ("input_ids", "attention_mask")}
    return {**given, "token_type_ids": np.zeros_like(given["input_ids"])}
