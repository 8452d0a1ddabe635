"""Row: what one student became, read from its deployment."""

from __future__ import annotations

from statistics import fmean
from typing import Any

from benchmarks.suites.students.methods import Method
from optimizer.manifest import GroupScore, Manifest, SetScore

__all__ = ["row_of"]


def row_of(data: str, method: Method, manifest: Manifest, minutes: float, peak_mib: float) -> dict[str, Any]:
    """The row as results hold it. `kept` is the student's share of the teacher's test score.

    Where a set has groups, scores are means over them (for languages of any size count alike).
    """
    assert manifest.evaluation is not None
    # the student's groups are scored on the test part
    evaluation = manifest.evaluation.model_copy(update={"groups": manifest.student.groups})
    teacher, student = _scores(evaluation)
    return {
        "data": data,
        "method": method.name,
        "target": method.speedup,
        "seed": method.seed,
        "training": method.training,
        "options": list(method.options),
        "speedup": manifest.speedup.model_dump(include={"median", "low", "high"}),
        "latency_ms": {"teacher": manifest.teacher.latency_ms.median, "student": manifest.student.latency_ms.median},
        "target_met": manifest.target_met,
        "onnx_bytes_ratio": manifest.student.onnx_bytes_ratio,
        "student_is": f"{manifest.student.pattern} {manifest.student.precision} with {manifest.student.runtime}",
        "layers": [[layer.heads, layer.ffn] for layer in manifest.student.layers],
        "sparsity": manifest.student.sparsity,
        "teacher": {"dev": manifest.teacher.dev, "test": teacher},
        "student": {"dev": manifest.student.dev, "test": student},
        "kept": student / teacher,
        "worst_group_drop": _worst_drop(evaluation),
        "groups": {name: [group.teacher, group.student] for name, group in evaluation.groups.items()},
        "also": {name: _also(found) for name, found in manifest.also.items()},
        "minutes": minutes,
        "peak_mib": peak_mib,
    }


def _scores(found: SetScore) -> tuple[float, float]:
    of: list[GroupScore] = list(found.groups.values()) or [found]
    return fmean(each.teacher for each in of), fmean(each.student for each in of)


def _worst_drop(found: SetScore) -> float | None:
    return max((each.teacher - each.student for each in found.groups.values()), default=None)


def _also(found: SetScore) -> dict[str, Any]:
    teacher, student = _scores(found)
    return {"teacher": teacher, "student": student, "worst_group_drop": _worst_drop(found)}
