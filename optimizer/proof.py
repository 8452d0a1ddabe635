"""Proof: the student timed against the teacher and the strongest dense contestant, and whether the target is met."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks import Comparison, Measurement, compare
from benchmarks.gpu.placement import on_device_in_words
from hardware_profiles.runtimes import Runtime
from optimizer.measuring import device_difference, measure_models, write_input_pool
from optimizer.setting import Baseline, Setting
from optimizer.target import LatencyMs, MaxDrop

__all__ = ["STUDENT", "Proof", "prove"]

STUDENT = "student"


@dataclass(frozen=True)
class Proof:
    """Measurements by name, and the student's speed-up over the fp32 teacher and over the fastest dense contestant.

    `device_difference` is how far the student's answers there are from here, where it was scored; None if it is here.
    """

    measurements: dict[str, Measurement]
    versus_teacher: Comparison
    versus_strongest: Comparison
    device_difference: float | None = None

    @property
    def student(self) -> Measurement:
        """The student's measurement."""
        return self.measurements[STUDENT]

    @property
    def teacher(self) -> Measurement:
        """The fp32 teacher's measurement."""
        return self.measurements[self.versus_teacher.baseline]

    def clock(self, baseline: Baseline) -> float:
        """How much slower the machine ran now than when the profile was anchored, by a baseline.

        A shared machine drifts between sessions by more than predictions err; the teacher, timed in both, tells by how
        much. Nothing of the student enters.
        """
        return self.measurements[baseline.name].median * 1e3 / baseline.ms

    def meets(self, setting: Setting, dev: float) -> bool:
        """Whether the target is met: by the whole interval, the median, or the deployed dev score."""
        target = setting.target
        if isinstance(target, MaxDrop):
            return dev >= target.lowest_score(setting.baselines[0].dev)
        if isinstance(target, LatencyMs):
            return self.student.median * 1e3 <= target.ms
        return self.versus_teacher.low >= target.ratio


def prove(setting: Setting, onnx: Path, runtime: Runtime, title: str) -> Proof:
    """Time every baseline and the student in turns, in one run on the device."""
    models = {b.name: (b.onnx, setting.runtime_of_baseline(b)) for b in setting.baselines}
    models[STUDENT] = onnx, runtime
    # tokens of students, whose ids the teacher's table has too, or, of a given one, are made to
    inputs = write_input_pool(
        setting.work / "inputs.npz", setting.dev, setting.workload, setting.seed, tokens=setting.teacher_tokens
    )
    with setting.progress.step(title) as advance:
        found = measure_models(models, setting.workload, inputs, seed=setting.seed, advance=advance)
    dense = [found[b.name] for b in setting.baselines]
    strongest = min(dense, key=lambda m: m.median)
    difference = device_difference(STUDENT, onnx, runtime, setting.workload, inputs)
    proof = Proof(found, compare(dense[0], found[STUDENT]), compare(strongest, found[STUDENT]), difference)
    setting.progress.say(proof.versus_teacher.sentence)
    setting.progress.say(proof.versus_strongest.sentence)
    if said := on_device_in_words(proof.student):
        setting.progress.say(f"{STUDENT}: {said}")
    if difference is not None:
        setting.progress.say(f"{STUDENT} answers there within {difference:.1e} of its largest answer here")
    return proof
