"""Rules of the report: it says what was measured and how sure that is, and it loads nothing."""

from __future__ import annotations

import hashlib
import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from benchmarks.environment import Environment
from benchmarks.errors import TrimfitError
from benchmarks.lengths import Lengths
from benchmarks.measurement import LaunchFacts, Measurement, Samples, Subject
from benchmarks.workload import Workload
from optimizer.architecture import LayerShape
from optimizer.decision_record import (
    CandidateRecord,
    CompressionRound,
    Correction,
    DecisionRecord,
    KeptLayer,
    RaceHeat,
    ScoredPoint,
)
from optimizer.manifest import (
    Calibration,
    DeviceFacts,
    GroupScore,
    Latency,
    Manifest,
    Parity,
    SetScore,
    Speedup,
    StudentFacts,
    TeacherFacts,
    VocabularyFacts,
)
from optimizer.report import headline, picture, write_report
from optimizer.report.agreement import Meeting
from optimizer.report.group_rows import group_rows, half_width
from optimizer.report.samples import fence
from optimizer.report.wording import digits, megabytes, milliseconds, p_value, points, scientific, speed

HOSTILE = "</script><img src=https://evil.example onerror=alert(1)>"
DEVICE = DeviceFacts(name="AMD EPYC 9R14", fingerprint="9f1c2ab04d1e77aa")
WORKLOAD = Workload(batch=1, seq_len=64, threads=1)
FULL = tuple(LayerShape(heads=12, ffn=1536) for _ in range(6))
KEPT = tuple(
    KeptLayer(layer=index, heads=heads, heads_total=12, ffn=ffn, ffn_total=1536)
    for index, (heads, ffn) in enumerate(
        [((0, 1, 2, 4, 5, 6, 9, 10, 11), 896), ((0, 1, 2, 5, 6, 9, 11), 704), ((0, 2, 3, 5, 6, 8, 10), 768),
         ((1, 5, 6, 7, 11), 512), ((4, 6, 8), 320), ((), 128)]
    )
)  # fmt: skip
LAYERS = tuple(LayerShape(heads=len(layer.heads), ffn=layer.ffn) for layer in KEPT)
REFUSAL = "unstructured 90 %: 1.01x measured on onnxruntime-cpu: this runtime does not skip zeros"


def a_measurement(name: str, median_ms: float, spread: float, seed: int = 0, calls: int = 400) -> Measurement:
    """A right-skewed sample of 5 launches with a few interrupted calls, as a server gives them."""
    rng = np.random.default_rng(seed)
    launch = np.repeat(np.arange(5), calls // 5)
    ms = median_ms * (1 + spread * (rng.gamma(1.6, 1, calls) - 1.3) + 0.004 * rng.standard_normal(5)[launch])
    preempted = rng.random(calls) < 0.03
    cpu = ms.copy()
    ms[preempted] *= rng.uniform(1.05, 1.7, int(preempted.sum()))
    samples = Samples(
        launch=tuple(launch.tolist()),
        round=tuple((np.arange(calls) % (calls // 5) // 8).tolist()),
        kind=("first",) + ("warmup",) * 4 + ("timed",) * (calls - 5),
        seconds=tuple((ms / 1e3).tolist()),
        cpu_seconds=tuple((cpu / 1e3).tolist()),
        preemptions=tuple(preempted.astype(int).tolist()),
    )
    return Measurement(
        subject=Subject(name=name, workload=WORKLOAD, file_bytes=18_300_000),
        samples=samples,
        launches=(LaunchFacts(load_seconds=0.21, memory_before_bytes=61_000_000, peak_memory_bytes=143_000_000),),
        environment=Environment(
            cpu=DEVICE.name,
            cores=2,
            memory_bytes=8_000_000_000,
            system="Linux 6.1 x86_64",
            python="3.11.2",
            packages={"onnxruntime": "1.32.0"},
        ),
    )


def a_candidate(name: str, pattern: str, precision: str, ms: float, loss: float, **more: object) -> CandidateRecord:
    return CandidateRecord.model_validate(
        {
            "name": name, "pattern": pattern, "precision": precision, "runtime": "onnxruntime-cpu",
            "layers": LAYERS, "predicted_ms": ms, "predicted_low_ms": 0.95 * ms,
            "predicted_high_ms": 1.05 * ms, "predicted_speedup": 7.05 / ms,
            "estimated_loss_increase": loss, **more,
        }
    )  # fmt: skip


def heats(*dev: float, dropped: bool = False) -> tuple[RaceHeat, ...]:
    last = len(dev) - 1
    return tuple(
        RaceHeat(steps=60 * 2**heat, dev=score, survived=not (dropped and heat == last))
        for heat, score in enumerate(dev)
    )


def a_decision() -> DecisionRecord:
    def point(name: str, dev: float, ms: float, latency_is: str, kind: str) -> ScoredPoint:
        return ScoredPoint(name=name, dev=dev, ms=ms, latency_is=latency_is, kind=kind)

    return DecisionRecord(
        device=DEVICE,
        workload=WORKLOAD,
        target="speed-up 3",
        runtime_options={"disabled_optimizers": ["SkipLayerNormFusion"]},
        teacher_ms=7.05,
        target_ms=2.35,
        candidates=(
            a_candidate("width 3.0x fp32", "structured", "fp32", 2.31, 0.41, race=heats(0.861, dropped=True)),
            a_candidate("width 5.0x int8", "structured", "int8", 1.33, 0.18, race=heats(0.874, 0.884, 0.892),
                        chosen=True),
            a_candidate("depth 3 of 6 int8", "depth", "int8", 1.31, 0.52, layers=FULL[:3],
                        race=heats(0.868, 0.879, dropped=True)),
            a_candidate("depth 2 of 6 int8", "depth", "int8", 0.90, 1.20, layers=FULL[:2],
                        race=heats(0.842, dropped=True)),
            a_candidate("unstructured 90 % fp32", "unstructured", "fp32", 7.02, 0.3, sparsity=0.9,
                        layers=FULL, refused=REFUSAL),
        ),
        reason="width 5.0x int8 won the race: 89.2 % on dev after 240 steps, 1.3 points above the next.",
        rounds=tuple(
            CompressionRound(name=f"round {n}", layers=layers, predicted_ms=ms, steps=99, dev=dev, seconds=91)
            for n, (layers, ms, dev) in enumerate([(FULL, 2.2, 0.900), (LAYERS, 1.33, 0.893)], start=1)
        ),
        corrections=(
            Correction(predicted_ms=1.21, measured_ms=1.41, speedup=5.0, layers=LAYERS),
            Correction(predicted_ms=1.33, measured_ms=1.36, speedup=5.18, layers=LAYERS),
        ),
        kept=KEPT,
        points=(
            point("teacher fp32", 0.901, 7.05, "measured", "teacher"),
            point("teacher int8", 0.903, 2.50, "measured", "baseline"),
            point("student", 0.897, 1.36, "measured", "student"),
            point("width 3.0x fp32", 0.861, 2.31, "predicted", "candidate"),
            point("width 5.0x int8", 0.892, 1.33, "predicted", "candidate"),
            point("depth 3 of 6 int8", 0.879, 1.31, "predicted", "candidate"),
            point("depth 2 of 6 int8", 0.842, 0.90, "predicted", "candidate"),
            point("round 1", 0.900, 2.20, "predicted", "round"),
            point("round 2", 0.893, 1.33, "predicted", "round"),
        ),
    )  # fmt: skip


def a_manifest(**more: object) -> Manifest:
    groups = {"hau": (0.789, 0.781, 5303), "yor": (0.712, 0.689, 4515), "swa": (0.640, 0.571, 748),
              "amh": (0.602, 0.610, 1999), "twi": (0.660, 0.620, 47), HOSTILE: (0.61, 0.60, 300)}  # fmt: skip
    student = StudentFacts(
        pattern="structured",
        precision="int8",
        runtime="onnxruntime-cpu",
        layers=LAYERS,
        parameters=16_900_000,
        onnx_bytes=18_300_000,
        dev=0.897,
        test=0.899,
        scores={"accuracy": 0.899},
        groups={name: GroupScore(teacher=t, student=s, rows=n) for name, (t, s, n) in groups.items()},
        latency_ms=Latency(median=1.36, p90=1.38, predicted=1.33),
    )
    teacher = TeacherFacts(
        metric="accuracy",
        dev=0.901,
        test=0.907,
        scores={"accuracy": 0.907},
        latency_ms=Latency(median=7.05, p90=7.11),
        parameters=22_700_000,
        onnx_bytes=90_400_000,
    )
    facts = {
        "trimfit": "0.1.0", "device": DEVICE, "workload": WORKLOAD, "target": "speed-up 3",
        "target_met": True, "teacher": teacher, "student": student, "seed": 0, "minutes": 21.3, "files": {},
        "speedup": Speedup(median=5.18, low=5.14, high=5.21, versus="teacher fp32 onnxruntime-cpu"),
        "speedup_versus_strongest_dense": Speedup(
            median=1.84, low=1.82, high=1.86, versus="teacher int8 onnxruntime-cpu"),
        "parity": Parity(max_abs_logit_difference=4.1e-6, rows=64),
    }  # fmt: skip
    return Manifest.model_validate(facts | more)


def write_deployment(folder: Path, manifest: Manifest | None = None, decision: DecisionRecord | None = None) -> Path:
    (decision or a_decision()).write(folder)
    for seed, (name, ms, spread) in enumerate(
        [("teacher-fp32", 7.05, 0.006), ("teacher-int8", 2.50, 0.02), ("student", 1.36, 0.006)]
    ):
        a_measurement(name, ms, spread, seed).to_json(folder / "measurements" / f"{name}.json")
    for name, size in (("model.onnx", 18_300), ("run.py", 1_234), ("tokenizer.json", 71_100)):
        (folder / name).write_bytes(b"x" * size)
    listed = sorted(
        path for path in folder.rglob("*") if path.is_file() and path.name not in ("report.html", "manifest.json")
    )
    files = {
        path.relative_to(folder).as_posix(): f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
        for path in listed
    }
    (manifest or a_manifest()).model_copy(update={"files": files}).write(folder)
    return folder


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_deployment(tmp_path_factory.mktemp("deployment"))


@pytest.fixture(scope="module")
def page(deployment: Path) -> str:
    return write_report(deployment).read_text(encoding="utf-8")


class _Tags(HTMLParser):
    """Every tag with its attributes, and whether what was opened was closed."""

    VOID = frozenset({"meta", "br", "img", "hr", "link"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_headline_is_one_sentence_with_conditions_and_doubt() -> None:
    assert headline(a_manifest()) == (
        "5.18x faster (5.14 to 5.21, 95 %) than teacher fp32 onnxruntime-cpu on AMD EPYC 9R14, "
        "batch 1, 64 tokens, 1 thread; accuracy 90.7 % -> 89.9 % on test"
    )


MIX = Workload.over(Lengths(points=((9, 0.7), (47, 0.3)), shortest=4, longest=61))


def test_headline_of_a_mix_says_whose_lengths_they_are() -> None:
    assert "on AMD EPYC 9R14, batch 1, the data's own lengths (4 to 61 tokens, mean 20), 1 thread" in headline(
        a_manifest(workload=MIX)
    )


def test_a_mix_is_shown_length_by_length(tmp_path: Path) -> None:
    write_deployment(tmp_path, a_manifest(workload=MIX))
    for path in (tmp_path / "measurements").iterdir():
        plain = Measurement.from_json(path)
        columns = plain.samples.model_dump()
        # every other call is a long one, of four times the time
        columns["seq_len"] = [(9, 47)[i % 2] for i in range(len(plain.samples))]
        for name in ("seconds", "cpu_seconds"):
            columns[name] = [x * (1, 4)[i % 2] for i, x in enumerate(columns[name])]
        subject = plain.subject.model_copy(update={"workload": MIX})
        update = {"subject": subject, "samples": Samples.model_validate(columns)}
        Measurement.model_validate(plain.model_dump() | {k: v.model_dump() for k, v in update.items()}).to_json(path)
    student = Measurement.from_json(tmp_path / "measurements" / "student.json")
    assert student.median_ms == pytest.approx(1.36 * (0.7 + 0.3 * 4), rel=0.02)
    text = write_report(tmp_path).read_text(encoding="utf-8")
    assert "Mean over the lengths of the median latency" in text
    assert "The lengths that stand for all: 9 tokens (70 %) and 47 tokens (30 %)." in text
    (short, long) = (part.median_ms for part, _ in student.parts)
    assert f"9 tokens, 70.0 % of the calls: median {milliseconds(short)}" in text
    assert f"47 tokens, 30.0 % of the calls: median {milliseconds(long)}" in text
    assert f"<p>median {milliseconds(student.median_ms)}" in text


def test_headline_quotes_dev_where_there_is_no_test_part() -> None:
    manifest = a_manifest()
    manifest = manifest.model_copy(update={"student": manifest.student.model_copy(update={"test": None})})
    assert headline(manifest).endswith("accuracy 90.1 % -> 89.7 % on dev")


def test_headline_says_when_latencies_are_not_of_the_device() -> None:
    device = DEVICE.model_copy(update={"provenance": "measured_proxy"})
    assert "(measured on another machine with the same engine)" in headline(a_manifest(device=device))


@pytest.mark.parametrize(
    ("median", "low", "high", "words"),
    [
        (3.412, 3.381, 3.442, "3.41x faster (3.38 to 3.44, 95 %)"),
        (4.1, 3.8, 4.4, "4.1x faster (3.8 to 4.4, 95 %)"),
        (1.01, 0.98, 1.04, "no significant difference in speed (0.98x to 1.04x, 95 %)"),
        (0.8, 0.78, 0.82, "1.25x slower (1.22 to 1.28, 95 %)"),
    ],
)
def test_a_speedup_is_worded_with_its_interval(median: float, low: float, high: float, words: str) -> None:
    assert speed(Speedup(median=median, low=low, high=high, versus="teacher")) == words


def test_numbers_have_no_more_digits_than_are_known() -> None:
    assert [digits(half) for half in (0.004, 0.03, 0.2, 2.0)] == [2, 2, 1, 0]
    assert [milliseconds(ms) for ms in (7.049, 0.5124, 128.4, None)] == ["7.05 ms", "0.512 ms", "128 ms", "–"]
    assert [megabytes(size) for size in (90.4e6, 1300, 12, 2.2e9)] == [
        "90.4 MB",
        "1.3 kB",
        "12 bytes",
        "2.2 GB",
    ]
    assert [points(share) for share in (-0.005, 0.012, -0.0001)] == ["\N{MINUS SIGN}0.5", "+1.2", "0.0"]
    assert [scientific(value) for value in (4.1e-6, 0.0)] == ["4.1e-6", "0"]


def test_the_page_requests_nothing(page: str) -> None:
    tags = _Tags(page)
    assert tags.open == []
    assert {"script", "link", "img", "iframe", "object", "base", "form"}.isdisjoint(tag for tag, _ in tags.found)
    loads = [value for _, attributes in tags.found for key, value in attributes.items()
             if key in ("src", "href", "xlink:href", "action", "srcset", "data", "poster")]  # fmt: skip
    assert all(value is not None and value.startswith("#") for value in loads)
    style = re.sub(r"(?s).*<style>(.*?)</style>.*", r"\1", page)
    assert "url(" not in style
    assert "@import" not in style
    assert "default-src 'none'" in page


def test_hostile_strings_are_text(page: str) -> None:
    assert HOSTILE not in page
    assert "&lt;/script&gt;&lt;img src=https://evil.example onerror=alert(1)&gt;" in page


def test_hostile_strings_are_text_wherever_they_stand(tmp_path: Path) -> None:
    hostile = json.loads(a_decision().model_dump_json())
    for point in hostile["points"]:
        point["name"] = HOSTILE
    for candidate in hostile["candidates"]:
        candidate["name"] = candidate["pattern"] = HOSTILE
    decision = DecisionRecord.model_validate(hostile | {"reason": HOSTILE, "runtime_options": {HOSTILE: HOSTILE}})
    device = DEVICE.model_copy(update={"name": HOSTILE, "fingerprint": HOSTILE})
    manifest = a_manifest(device=device, target=HOSTILE, trimfit=HOSTILE)
    page = write_report(write_deployment(tmp_path, manifest, decision)).read_text(encoding="utf-8")
    assert {"img", "script"}.isdisjoint(tag for tag, _ in _Tags(page).found)


def test_a_device_of_a_provenance_that_there_is_not_is_refused(tmp_path: Path) -> None:
    write_deployment(tmp_path, a_manifest(device=DEVICE.model_copy(update={"provenance": "felt"})))
    with pytest.raises(TrimfitError, match=r"device\.provenance"):
        write_report(tmp_path)


def test_a_manifest_of_an_emulated_device_is_refused_as_it_holds_latencies() -> None:
    with pytest.raises(ValidationError, match="what is emulated_functional has no latency"):
        DeviceFacts.model_validate({**DEVICE.model_dump(), "provenance": "emulated_functional"})


def test_the_page_answers_every_question(page: str) -> None:
    sections = re.findall(r'<section id="([a-z]+)">', page)
    assert sections == [
        "frontier", "groups", "kept", "samples", "agreement", "candidates", "refusals", "rounds", "run",
        "files",
    ]  # fmt: skip
    assert "5.18×" in page
    assert "teacher int8 onnxruntime-cpu" in page
    assert REFUSAL in page
    assert "predicted 1.33 ms, measured 1.36 ms: 2.2 % too low" in page


def test_a_precision_that_was_not_profiled_is_a_refusal(tmp_path: Path) -> None:
    sentence = "int8-static: 0.93x of int8 measured on this device: not profiled"
    decision = a_decision().model_copy(update={"not_profiled": (sentence,)})
    page = write_report(write_deployment(tmp_path, decision=decision)).read_text(encoding="utf-8")
    assert "<dt>int8-static</dt><dd>0.93x of int8 measured on this device: not profiled</dd>" in page


def test_sections_without_evidence_are_left_out(tmp_path: Path) -> None:
    manifest = a_manifest()
    manifest = manifest.model_copy(update={"student": manifest.student.model_copy(update={"groups": {}})})
    bare = a_decision().model_copy(
        update={
            "candidates": (),
            "rounds": (),
            "corrections": (),
            "kept": (),
            "points": (),
            "runtime_options": {},
        }
    )
    bare.write(tmp_path)
    manifest.write(tmp_path)
    page = write_report(tmp_path).read_text(encoding="utf-8")
    assert re.findall(r'<section id="([a-z]+)">', page) == ["agreement", "run"]


def test_the_same_folder_gives_the_same_bytes(deployment: Path) -> None:
    first = write_report(deployment).read_bytes()
    assert write_report(deployment).read_bytes() == first


def test_the_page_is_light(deployment: Path) -> None:
    assert write_report(deployment).stat().st_size < 300_000


def test_the_worst_group_comes_first_and_small_ones_are_flagged(page: str) -> None:
    rows = group_rows(a_manifest().student.groups)
    assert [row.name for row in rows[:3]] == ["swa", "twi", "yor"]
    assert [row.name for row in rows if row.few] == ["twi"]
    assert page.count("few rows</span>") == 1
    assert "swa lost far more than the average: 64.0 % became 57.1 %" in page


def a_set(teacher: float, student: float, p: float = 0.2, errors: tuple[float, float] = (0.031, 0.042)) -> SetScore:
    return SetScore(
        teacher=teacher, student=student, rows=1821, low=student - teacher - 0.01, high=student - teacher + 0.01,
        bootstrap_p=p, mcnemar_p=0.0004, agreement=0.953,
        calibration=Calibration(teacher=errors[0], student=errors[1], bins=15),
    )  # fmt: skip


def aside(page: str) -> str:
    return re.sub(r"(?s).*<aside(.*?)</aside>.*", r"\1", page)


def test_groups_with_a_test_are_told_with_their_doubt(tmp_path: Path) -> None:
    manifest = a_manifest()
    tested = {
        "swa": GroupScore(teacher=0.64, student=0.571, rows=748, low=-0.101, high=-0.036, bootstrap_p=0.0004,
                          mcnemar_p=0.012, agreement=0.9),
        "yor": GroupScore(teacher=0.712, student=0.709, rows=4515, low=-0.011, high=0.006, bootstrap_p=0.6,
                          mcnemar_p=1.0, agreement=0.95),
    }  # fmt: skip
    manifest = manifest.model_copy(update={"student": manifest.student.model_copy(update={"groups": tested})})
    page = write_report(write_deployment(tmp_path, manifest)).read_text(encoding="utf-8")
    minus = "\N{MINUS SIGN}"
    assert f"{minus}10.1 to {minus}3.6" in page
    assert '<td class="number">&lt; 0.001</td><td class="number">0.01</td>' in page
    assert [row.unsure for row in group_rows(tested)] == [False, True]
    assert "More than chance would do, of 2 groups (Holm, p &lt; 0.05), was lost by: swa." in aside(page)


def test_every_scored_set_is_told(tmp_path: Path) -> None:
    manifest = a_manifest(evaluation=a_set(0.907, 0.899), also={HOSTILE: a_set(0.85, 0.84)})
    page = write_report(write_deployment(tmp_path, manifest)).read_text(encoding="utf-8")
    section = page.partition('<section id="sets">')[2].partition("</section>")[0]
    assert section.count("<tr><td") == 2
    assert "<b>test</b>" in section
    assert "95.3 %" in section
    assert '3.1 % <span class="arrow">→</span> 4.2 %' in section
    assert HOSTILE not in page


def test_what_is_lost_elsewhere_is_a_reason_to_doubt(tmp_path: Path) -> None:
    sets = {"shops": a_set(0.85, 0.80, p=0.001), "banks": a_set(0.85, 0.80, p=0.3), "mills": a_set(0.85, 0.845, p=0.01)}
    manifest = a_manifest(evaluation=a_set(0.907, 0.899, errors=(0.02, 0.05)), also=sets)
    words = aside(write_report(write_deployment(tmp_path, manifest)).read_text(encoding="utf-8"))
    assert "On shops more is lost: 85.0 % became 80.0 %" in words
    assert "banks" not in words, "it may be chance"
    assert "mills" not in words, "it is no more than on the test part"
    assert "miss by 5.0 % on average, the teacher&#39;s by 2.0 %" in words


def test_a_trimmed_vocabulary_is_told(tmp_path: Path) -> None:
    facts = VocabularyFacts(
        tokens_before=250_037, tokens=39_812, parameters_removed=80_726_400, dev_before=0.7512, dev=0.7508,
        dev_changed=0.0091, test_changed=0.0312,
    )  # fmt: skip
    page = write_report(write_deployment(tmp_path, a_manifest(vocabulary=facts))).read_text(encoding="utf-8")
    assert '250.0 k <span class="arrow">→</span> 39.8 k' in page
    assert "3.1 % of the test tokens are gone; the teacher on dev without them: 75.1 % → 75.1 %" in page
    assert "3.1 % of the scored texts&#39; tokens left the vocabulary" in aside(page)
    assert str(facts) == (
        "vocabulary: 250037 -> 39812 tokens, 80.7 M parameters fewer; 0.91% of dev's tokens are not among them: the"
        " teacher's dev score was 0.7512 and is 0.7508"
    )


def test_a_manifest_of_before_these_were_told_is_still_read(tmp_path: Path) -> None:
    a_manifest().write(tmp_path)
    told = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    for key in ("evaluation", "also", "vocabulary"):
        del told[key]
    del told["student"]["onnx_bytes_ratio"]
    told["student"]["groups"] = {"hau": {"teacher": 0.8, "student": 0.7, "rows": 10}}
    (tmp_path / "manifest.json").write_text(json.dumps(told), encoding="utf-8")
    again = Manifest.read(tmp_path)
    assert (again.evaluation, again.also, again.student.groups["hau"].low) == (None, {}, None)


def test_a_probability_has_one_digit() -> None:
    assert [p_value(p) for p in (None, 0.0004, 0.0312, 0.26, 1.0)] == ["–", "< 0.001", "0.03", "0.3", "1"]


def test_a_score_of_few_rows_is_uncertain() -> None:
    assert half_width(0.5, 100) == pytest.approx(0.0962, abs=1e-4)  # Wilson: 0.404 to 0.596
    assert half_width(0.9, 10_000) == pytest.approx(0.0059, abs=1e-4)
    assert half_width(1.0, 10) > 0.1
    assert half_width(0.5, 0) == 1.0


def test_a_clean_result_has_no_reason_to_doubt(tmp_path: Path) -> None:
    manifest = a_manifest()
    manifest = manifest.model_copy(update={"student": manifest.student.model_copy(update={"groups": {}})})
    page = write_report(write_deployment(tmp_path, manifest)).read_text(encoding="utf-8")
    assert "No reason found to doubt this result" in page


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"target_met": False}, "The target (speed-up 3) is not met"),
        ({"parity": Parity(max_abs_logit_difference=2e-3, rows=64)}, "by 2.0e-3 (limit 1.0e-4)"),
        (
            {"speedup_versus_strongest_dense": Speedup(median=1.0, low=0.98, high=1.02, versus="teacher int8")},
            "teacher int8 is as fast",
        ),
        (
            {"speedup": Speedup(median=0.9, low=0.88, high=0.92, versus="teacher fp32")},
            "The student is not faster than teacher fp32: 1.11x slower",
        ),
        ({"device": DEVICE.model_copy(update={"provenance": "modelled"})}, "modelled, not measured"),
    ],
)
def test_reasons_to_doubt_are_said(tmp_path: Path, change: dict[str, object], words: str) -> None:
    page = write_report(write_deployment(tmp_path, a_manifest(**change))).read_text(encoding="utf-8")
    assert words in re.sub(r"(?s).*<aside(.*?)</aside>.*", r"\1", page)


def test_a_missed_prediction_is_a_reason_to_doubt(tmp_path: Path) -> None:
    manifest = a_manifest()
    latency = Latency(median=1.36, p90=None, predicted=1.0)
    student = manifest.student.model_copy(update={"latency_ms": latency, "test": None})
    page = write_report(write_deployment(tmp_path, manifest.model_copy(update={"student": student}))).read_text("utf-8")
    assert "it misses by more than 10 %" in page
    assert "Too few samples for a 90th percentile" in page
    assert "The data has no test part" in page


def test_a_file_that_changed_is_noticed(tmp_path: Path) -> None:
    write_deployment(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"other")
    (tmp_path / "run.py").unlink()
    page = write_report(tmp_path).read_text(encoding="utf-8")
    assert "Not as the manifest recorded them: model.onnx, run.py." in page


def test_a_manifest_cannot_reach_outside_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "deployment"
    folder.mkdir()
    a_decision().write(folder)
    (tmp_path / "secret").write_text("secret")
    a_manifest(files={"../secret": "sha256:00"}).write(folder)
    assert "outside the folder" in write_report(folder).read_text(encoding="utf-8")


def test_instability_is_shown_beside_what_it_spoils(tmp_path: Path) -> None:
    write_deployment(tmp_path)
    a_measurement("teacher-int8", 2.5, 0.3).to_json(tmp_path / "measurements" / "teacher-int8.json")
    page = write_report(tmp_path).read_text(encoding="utf-8")
    assert len(re.findall(r"teacher int8: .*fluctuation: IQR is \d+% of the median", page)) == 1


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "manifest.json").unlink(), "holds no manifest.json"),
        (lambda folder: (folder / "decision.json").unlink(), "holds no decision.json"),
        (lambda folder: (folder / "decision.json").write_text("{}"), "decision.json is not a decision"),
        (lambda folder: (folder / "measurements" / "student.json").write_text("{}"), "student.json"),
    ],
)
def test_a_broken_deployment_is_refused_by_file_name(tmp_path: Path, spoil: object, words: str) -> None:
    write_deployment(tmp_path)
    spoil(tmp_path)  # type: ignore[operator]
    with pytest.raises(TrimfitError, match=re.escape(words)) as error:
        write_report(tmp_path)
    assert "\n" not in str(error.value)


def test_measured_and_predicted_points_look_different() -> None:
    drawn = ET.fromstring(picture(a_manifest(), a_decision()))
    marks = {
        mark[0].text: mark.get("class", "") for mark in drawn.iter("{http://www.w3.org/2000/svg}circle") if len(mark)
    }
    assert len(marks) == 9
    assert all(("hollow" in class_) == ("predicted" in str(story)) for story, class_ in marks.items())


def test_the_picture_stands_alone() -> None:
    drawn = picture(a_manifest(), a_decision())
    assert drawn.startswith("<svg")
    assert "prefers-color-scheme: dark" in drawn
    assert not re.search(r"(href|src)=", drawn)


def test_far_out_latencies_do_not_squash_the_figure() -> None:
    assert fence(np.array([1.0, 1.1, 1.2, 1.3, 99.0])) == pytest.approx(1.3 + 3 * 0.2)
    assert fence(np.array([1.0, 1.0])) == 1.0


def test_a_prediction_is_judged_against_the_measurement() -> None:
    assert Meeting("deployed", 0.9, 1.0).sentence == "predicted 0.900 ms, measured 1.00 ms: 10.0 % too low"
    assert Meeting("deployed", 1.1, 1.0).error == pytest.approx(0.1)
