"""The deployment's manifest: what was deployed, for which device, how fast and how good, as scripts read it."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from benchmarks.errors import TrimfitError
from benchmarks.measurement import Provenance
from benchmarks.workload import Workload
from optimizer import files
from optimizer.architecture import LayerShape
from optimizer.float_layers import FloatLayers

__all__ = [
    "FILE_NAME",
    "DeviceFacts",
    "GroupScore",
    "Latency",
    "Manifest",
    "MobileFacts",
    "MobileModel",
    "Speedup",
    "StudentFacts",
    "TeacherFacts",
]

FILE_NAME = "manifest.json"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DeviceFacts(_Record):
    """The device the numbers come from."""

    name: str
    fingerprint: str
    provenance: Provenance = "measured_device"


class Latency(_Record):
    """Milliseconds. `predicted` is the latency model's word before the measurement; `p90` needs 64 samples.

    Of a workload of several lengths `median` and `predicted` are means over them, weighted by their shares.
    """

    median: float
    p90: float | None = None
    predicted: float | None = None


class GroupScore(_Record):
    """One group's (language's, domain's) test score; dev where there is no test part."""

    teacher: float
    student: float
    rows: int


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

    `float_layers` are those that stay in fp32 at a lower precision; None where no score is lost without.
    """

    pattern: str
    precision: str
    runtime: str
    sparsity: float = 0.0
    layers: tuple[LayerShape, ...]
    parameters: int
    onnx_bytes: int
    dev: float
    test: float | None
    scores: dict[str, float]
    float_layers: FloatLayers | None = None
    groups: dict[str, GroupScore] = {}
    latency_ms: Latency


class Speedup(_Record):
    """Ratio of paired medians with its 95 % interval; above 1 the student is faster."""

    median: float
    low: float
    high: float
    versus: str


class Parity(_Record):
    """How far the fp32 ONNX file's logits are from PyTorch's on real dev rows."""

    max_abs_logit_difference: float
    rows: int


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
    """`manifest.json`; the keys scripts may rely on."""

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
    mobile: MobileFacts | None = None
    seed: int
    minutes: float
    files: dict[str, str]

    @model_validator(mode="after")
    def _holds_no_emulated_time(self) -> Manifest:
        if self.device.provenance == "emulated_functional":
            raise ValueError("what is emulated_functional can hold no milliseconds: measure on the device")
        return self

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
