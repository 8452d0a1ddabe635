"""Shape trial: what the winner's shape takes on the device, measured before it is trained for good."""

from __future__ import annotations

import tempfile
from pathlib import Path

from transformers import PreTrainedModel

from benchmarks import Budget
from optimizer.artefact import build
from optimizer.candidates import Candidate
from optimizer.measuring import measure_models, write_input_pool
from optimizer.progress import Advance
from optimizer.proof import STUDENT
from optimizer.setting import Setting

__all__ = ["shape_trial"]

SECONDS_EACH = 5.0  # a model at one length


def shape_trial(
    setting: Setting, candidate: Candidate, model: PreTrainedModel, advance: Advance = lambda share: None
) -> tuple[float, ...]:
    """Milliseconds of a candidate's shape at each length of the workload, on the clock of the teacher's measurement.

    A shape takes as long with any weights: `model` is the candidate's however far it is trained. It is timed in turns
    with the teacher at the same precision.
    """
    baseline = setting.baseline(candidate.precision, candidate.runtime)
    runtime = setting.runtime_of(candidate)
    keep = setting.float_groups(candidate, candidate.survivors)
    with tempfile.TemporaryDirectory(dir=setting.work) as name:
        folder = Path(name)
        made = build(model, setting.tokenizer, runtime, candidate.precision, folder, setting.dev, setting.train, keep)
        inputs = write_input_pool(
            folder / "inputs.npz", setting.dev, setting.workload, setting.seed, tokens=setting.teacher_tokens
        )
        models = {
            baseline.name: (baseline.onnx, setting.runtime_of_baseline(baseline)),
            STUDENT: (made.path, runtime),
        }
        budget = Budget(max_seconds=SECONDS_EACH * len(models) * len(setting.workload.points()))
        found = measure_models(models, setting.workload, inputs, seed=setting.seed, advance=advance, budget=budget)
    clock = found[baseline.name].median * 1e3 / baseline.ms
    return tuple(part.median * 1e3 / clock for part, _ in found[STUDENT].parts)
