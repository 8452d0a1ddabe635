"""The deployment's manifest: what was deployed, for which device, how fast and how good, as scripts read it."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from benchmarks.errors import TrimfitError
from benchmarks.provenance import EMULATED, Provenance
from benchmarks.workload import Workload
from optimizer import files
from optimizer.architecture import LayerShape
from optimizer.float_layers import FloatLayers

__all__ = [
    "FILE_NAME",
    "BlackBoxFacts",
    "Calibration",
    "DeviceFacts",
    "GroupScore",
    "Latency",
    "Manifest",
    "MobileFacts",
    "MobileModel",
    "SetScore",
    "Speedup",
    "StudentFacts",
    "TeacherFacts",
    "TrainingFacts",
    "VocabularyFacts",
]

FILE_NAME = "manifest.json"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DeviceFacts(_Record):
    """The device the numbers come from."""

    name: str
    fingerprint: str
    provenance: Provenance = "measured_device"

    @field_validator("provenance")
    @classmethod
    def _has_latencies(cls, word: Provenance) -> Provenance:
        if word == EMULATED:
            raise ValueError(f"what is {EMULATED} has no latency: measure on the device")
        return word


class Latency(_Record):
    """Milliseconds. `predicted` is the latency model's word before the measurement; `p90` needs 64 samples.

    Of a workload of several lengths `median` and `predicted` are means over them, weighted by their shares.
    """

    median: float
    p90: float | None = None
    predicted: float | None = None


class GroupScore(_Record):
    """Teacher's and student's score on the same rows, e.g. of one group (language, domain), and how sure the change is.

    `low` and `high` bound student minus teacher (95 %, paired bootstrap). `bootstrap_p` is the probability of such a
    change of the score if both were equally good, `mcnemar_p` that of such a change of right answers (exact); among
    groups both are Holm's. `agreement` is the share of rows with equal answers, right or wrong.
    """

    teacher: float
    student: float
    rows: int
    low: float | None = None
    high: float | None = None
    bootstrap_p: float | None = None
    mcnemar_p: float | None = None
    agreement: float | None = None

    @property
    def difference(self) -> float:
        """Student minus teacher: below 0 score was lost."""
        return self.student - self.teacher


class Calibration(_Record):
    """Expected calibration error: by how much the probability of an answer misses its share of right ones, [0, 1]."""

    teacher: float
    student: float
    bins: int


class SetScore(GroupScore):
    """A whole set of rows: the part that the headline quotes, or one that the person also wanted scored."""

    calibration: Calibration
    groups: dict[str, GroupScore] = {}


class VocabularyFacts(_Record):
    """What was removed of the vocabulary, and what that did before anything was trained.

    `dev_before` and `dev` are the teacher's score (PyTorch) with all tokens and with those left; `dev_changed` and
    `test_changed` the share of the texts' tokens that are gone, so that others stand in their place.
    """

    tokens_before: int
    tokens: int
    parameters_removed: int
    dev_before: float
    dev: float
    dev_changed: float
    test_changed: float | None

    def __str__(self) -> str:
        return (
            f"vocabulary: {self.tokens_before} -> {self.tokens} tokens, {self.parameters_removed / 1e6:.1f} M"
            f" parameters fewer; {self.dev_changed:.2%} of dev's tokens are not among them: the teacher's dev score was"
            f" {self.dev_before:.4f} and is {self.dev:.4f}"
        )


class BlackBoxFacts(_Record):
    """The teacher that was only asked: an endpoint, or a file of its answers.

    `asked` texts, `without` an answer by the reason, `with_probabilities` the share of the answers that were more than
    a label. `labelled` are the parts that had no labels: scores there are agreement with it. `dev` and `test` are its
    own scores on labels that the data had. The agreements are shares of `rows` of the scored part to which the local
    model (`teacher` in the manifest) and the student give the same answer as it.
    """

    name: str
    asked: int
    without: dict[str, int] = {}
    with_probabilities: float
    labelled: tuple[str, ...] = ()
    dev: float | None = None
    test: float | None = None
    rows: int
    agreement_teacher: float | None
    agreement_student: float | None


class TrainingFacts(_Record):
    """The rows that the student was distilled on; all but the `labelled` ones have the teacher's labels.

    `rows` is the rule by which they were used, by its name on the command line. `unlabelled_dropped` counts the
    unlabelled texts that were not used, by reason; `augmented` are training texts with words replaced.
    """

    rows: str = "all"
    labelled: int
    unlabelled: int = 0
    unlabelled_dropped: dict[str, int] = {}
    augmented: int = 0

    def __str__(self) -> str:
        dropped = "".join(f"; {count} {reason}" for reason, count in self.unlabelled_dropped.items())
        return (
            f"distilled on {self.labelled} labelled rows, {self.unlabelled} unlabelled ones"
            f" ({sum(self.unlabelled_dropped.values())} not used{dropped}) and {self.augmented} augmented ones"
        )


class TeacherFacts(_Record):
    """The uncompressed model. Scores are shares in [0, 1]; `scores` holds every metric of the scored part."""

    metric: str
    dev: float
    test: float | None
    scores: dict[str, float]
    latency_ms: Latency
    parameters: int
    onnx_bytes: int


class StudentFacts(_Record):
    """What is deployed. `dev` and `test` are scored with the ONNX file, not with the PyTorch model.

    `onnx_bytes_ratio` is how many times smaller the file is than the teacher's in fp32. `float_layers` are those that
    stay in fp32 at a lower precision; None where no score is lost without. `groups` has the greatest loss first.
    `distill` is the objective it was distilled with, by its name on the command line; None where nothing was trained.
    `hidden_size` is None in manifests of before it could differ from the teacher's.
    """

    pattern: str
    precision: str
    runtime: str
    sparsity: float = 0.0
    hidden_size: int | None = None
    layers: tuple[LayerShape, ...]
    parameters: int
    onnx_bytes: int
    onnx_bytes_ratio: float | None = None
    dev: float
    test: float | None
    scores: dict[str, float]
    float_layers: FloatLayers | None = None
    distill: str | None = None
    groups: dict[str, GroupScore] = {}
    latency_ms: Latency


class Speedup(_Record):
    """Ratio of paired medians with its 95 % interval; above 1 the student is faster."""

    median: float
    low: float
    high: float
    versus: str


class Parity(_Record):
    """How far the fp32 ONNX file's logits are from PyTorch's on real dev rows.

    `device_relative_difference` is how far the deployed file's answers on a device elsewhere are from those of the
    machine that scored it, relative to the largest; None where they are the same machine.
    """

    max_abs_logit_difference: float
    rows: int
    device_relative_difference: float | None = None


class MobileModel(_Record):
    """The student in ORT format at one precision.

    `deployed`: it was made of the model.onnx that was scored and measured; the scores of others are not known.
    `lacking` are the operators that no package of onnxruntime for phones has, as DOMAIN:NAME. The difference is that of
    its logits from its ONNX file's, on made-up rows.
    """

    file: str
    precision: str
    deployed: bool
    lacking: tuple[str, ...]
    onnx_bytes: int
    ort_bytes: int
    max_abs_logit_difference: float
    rows: int


class MobileFacts(_Record):
    """What `mobile/` holds, and the version of onnxruntime that made it: an app's should be no older."""

    onnxruntime: str
    models: tuple[MobileModel, ...]


class Manifest(_Record):
    """`manifest.json`; the keys scripts may rely on.

    `evaluation` compares teacher and student on the test part (dev where there is none), `also` on each further set
    by its name. `vocabulary` is None where all tokens stay, `black_box` where the model alone is the teacher, and
    `training` where nothing was distilled.
    """

    format: int = 1
    trimfit: str
    device: DeviceFacts
    workload: Workload
    target: str
    target_met: bool
    teacher: TeacherFacts
    student: StudentFacts
    speedup: Speedup
    speedup_versus_strongest_dense: Speedup
    parity: Parity
    evaluation: SetScore | None = None
    also: dict[str, SetScore] = {}
    vocabulary: VocabularyFacts | None = None
    black_box: BlackBoxFacts | None = None
    mobile: MobileFacts | None = None
    training: TrainingFacts | None = None
    seed: int
    minutes: float
    files: dict[str, str]

    def write(self, folder: Path) -> None:
        """Write `manifest.json` into `folder`."""
        files.write_text_atomically(folder / FILE_NAME, self.model_dump_json(indent=2) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read `manifest.json` of a deployment. Raises TrimfitError when it is missing or broken."""
        path = folder / FILE_NAME
        if not path.is_file():
            raise TrimfitError(f"{folder} holds no {FILE_NAME}: expected a folder that `trimfit optimize --out` wrote")
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except (ValidationError, UnicodeDecodeError) as error:
            reason = str(error).splitlines()[0] if isinstance(error, UnicodeDecodeError) else _first_problem(error)
            raise TrimfitError(
                f"{path} is not a manifest this version reads ({reason}): run `trimfit optimize` again"
            ) from error


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    return f"{'.'.join(map(str, problem['loc'])) or 'file'}: {problem['msg']}"
