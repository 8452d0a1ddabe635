"""Reasons to distrust the result, each with its size. An empty list means that none was found."""

from __future__ import annotations

from collections.abc import Iterator

from optimizer.manifest import SetScore
from optimizer.report.agreement import TOLERANCE
from optimizer.report.evidence import Evidence
from optimizer.report.group_rows import ALPHA, FEW_ROWS, GroupRow, group_rows
from optimizer.report.wording import is_faster, milliseconds, p_value, percent, points, provenance, scientific, speed

__all__ = ["doubts"]

PARITY_LIMIT = 1e-4  # of logits, fp32 ONNX against PyTorch
WORST_GROUP_LIMIT = 0.02  # beyond the average loss
CALIBRATION_LIMIT = 0.02  # by which the calibration error may grow
ELSEWHERE_LIMIT = 0.01  # of the score: beyond the loss on the scored part
VOCABULARY_LIMIT = 0.02  # share of the scored tokens that are gone


def doubts(evidence: Evidence) -> list[str]:
    """One sentence for each reason, the gravest first."""
    checks = (
        _target,
        _provenance,
        _speed,
        _prediction,
        _groups,
        _elsewhere,
        _vocabulary,
        _labels,
        _calibration,
        _test_part,
        _parity,
        _tail,
        _files,
    )
    found = [sentence for check in checks for sentence in check(evidence)]
    return found + [f"{name}: {sentence}" for name, sentence in evidence.instabilities]


def _target(evidence: Evidence) -> Iterator[str]:
    if not evidence.manifest.target_met:
        yield f"The target ({evidence.manifest.target}) is not met; this is the best that was found."


def _provenance(evidence: Evidence) -> Iterator[str]:
    device = evidence.manifest.device
    if device.provenance != "measured_device":
        yield f"Latencies of {device.name} are {provenance(device.provenance)}."


def _speed(evidence: Evidence) -> Iterator[str]:
    manifest = evidence.manifest
    strongest = manifest.speedup_versus_strongest_dense
    if not is_faster(manifest.speedup):
        yield f"The student is not faster than {manifest.speedup.versus}: {speed(manifest.speedup)}."
    elif not is_faster(strongest):
        yield f"{strongest.versus} is as fast: {speed(strongest)}. Consider deploying that instead."


def _prediction(evidence: Evidence) -> Iterator[str]:
    latency = evidence.manifest.student.latency_ms
    if latency.predicted is not None and abs(latency.predicted / latency.median - 1) > TOLERANCE:
        yield (
            f"The latency model predicted {milliseconds(latency.predicted)} and the clock said "
            f"{milliseconds(latency.median)}: it misses by more than {100 * TOLERANCE:.0f} %."
        )


def _groups(evidence: Evidence) -> Iterator[str]:
    rows = group_rows(evidence.manifest.student.groups)
    sure = [row for row in rows if not row.few]
    if sure and sure[0].difference < _mean_difference(sure) - WORST_GROUP_LIMIT:
        worst = sure[0]
        yield (
            f"{worst.name} lost far more than the average: {percent(worst.teacher)} became "
            f"{percent(worst.student)} ({points(worst.difference)} points, {worst.rows} rows)."
        )
    lost = [row.name for row in rows if row.surely_lost]
    if lost:
        yield f"More than chance would do, of {len(rows)} groups (Holm, p < {ALPHA:g}), was lost by: {_list(lost)}."
    few = [row.name for row in rows if row.few]
    if few:
        yield f"Fewer than {FEW_ROWS} rows, so their scores are uncertain: {_list(few)}."


def _elsewhere(evidence: Evidence) -> Iterator[str]:
    home = evidence.manifest.evaluation
    for name, score in evidence.manifest.also.items():
        worse = home is not None and score.difference < home.difference - ELSEWHERE_LIMIT
        if worse and _by_more_than_chance(score):
            yield (
                f"On {name} more is lost: {percent(score.teacher)} became {percent(score.student)} "
                f"({points(score.difference)} points, p {p_value(score.bootstrap_p)})."
            )


def _by_more_than_chance(score: SetScore) -> bool:
    return score.bootstrap_p is not None and score.bootstrap_p < ALPHA


def _vocabulary(evidence: Evidence) -> Iterator[str]:
    facts = evidence.manifest.vocabulary
    if facts is None:
        return
    gone = facts.dev_changed if facts.test_changed is None else facts.test_changed
    if gone > VOCABULARY_LIMIT:
        yield (
            f"{percent(gone)} of the scored texts' tokens left the vocabulary: other texts may lose more; name them "
            "with --keep-vocabulary."
        )


def _labels(evidence: Evidence) -> Iterator[str]:
    facts = evidence.manifest.black_box
    if facts is not None and facts.labelled:
        yield (
            f"{' and '.join(facts.labelled)}: no labels but those of {facts.name}: scores are agreement with it, right "
            "or wrong."
        )


def _calibration(evidence: Evidence) -> Iterator[str]:
    evaluation = evidence.manifest.evaluation
    if evaluation is None:
        return
    error = evaluation.calibration
    if error.student > error.teacher + CALIBRATION_LIMIT:
        yield (
            f"The student's probabilities are less true: they miss by {percent(error.student)} on average, the "
            f"teacher's by {percent(error.teacher)}."
        )


def _mean_difference(rows: list[GroupRow]) -> float:
    total = sum(row.rows for row in rows)
    return sum(row.difference * row.rows for row in rows) / total if total else 0.0


def _list(names: list[str], most: int = 8) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def _test_part(evidence: Evidence) -> Iterator[str]:
    if evidence.manifest.student.test is None:
        yield "The data has no test part: scores are of dev, which also chose the model, so they flatter it."


def _parity(evidence: Evidence) -> Iterator[str]:
    difference = evidence.manifest.parity.max_abs_logit_difference
    if difference > PARITY_LIMIT:
        sizes = f"{scientific(difference)} (limit {scientific(PARITY_LIMIT)})"
        yield f"Logits of the ONNX file differ from PyTorch's by {sizes}."


def _tail(evidence: Evidence) -> Iterator[str]:
    if evidence.manifest.student.latency_ms.p90 is None:
        yield "Too few samples for a 90th percentile of the student's latency."


def _files(evidence: Evidence) -> Iterator[str]:
    changed = [fact.name for fact in evidence.files if fact.state != "matches"]
    if changed:
        yield f"Not as the manifest recorded them: {_list(changed)}."
