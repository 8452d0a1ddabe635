"""Evidence: what the report knows, all of it read from a deployment folder."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from benchmarks.errors import TrimfitError
from benchmarks.measurement import Measurement
from benchmarks.stability import instability
from optimizer import decision_record
from optimizer.decision_record import DecisionRecord
from optimizer.manifest import Manifest

__all__ = ["PAGE_NAME", "Contestant", "Evidence", "FileFact"]

PAGE_NAME = "report.html"
_ORDER = ("teacher", "baseline", "student")


@dataclass(frozen=True)
class Contestant:
    """One file of `measurements/`. `role` is "teacher" (the uncompressed one), "baseline" or "student"."""

    name: str
    role: str
    measurement: Measurement


@dataclass(frozen=True)
class FileFact:
    """A file the manifest lists. `state` is "matches", "differs", "missing" or "outside the folder"."""

    name: str
    sha256: str
    bytes: int | None
    state: str


@dataclass(frozen=True)
class Evidence:
    """The records of one deployment."""

    manifest: Manifest
    decision: DecisionRecord
    contestants: tuple[Contestant, ...]
    files: tuple[FileFact, ...]

    @classmethod
    def read(cls, folder: Path) -> Evidence:
        """Read a deployment folder. Raises TrimfitError naming the file that is missing or broken."""
        manifest = Manifest.read(folder)
        return cls(manifest, _read_decision(folder), _read_contestants(folder), _check_files(folder, manifest))

    @property
    def instabilities(self) -> tuple[tuple[str, str], ...]:
        """Contestant and sentence, for everything that was unsteady while it was timed."""
        return tuple((each.name, words) for each in self.contestants for words in instability(each.measurement))


def _read_decision(folder: Path) -> DecisionRecord:
    path = folder / decision_record.FILE_NAME
    if not path.is_file():
        raise TrimfitError(f"{folder} holds no {path.name}: expected a folder that `trimfit optimize --out` wrote")
    try:
        return DecisionRecord.read(folder)
    except (ValidationError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise TrimfitError(
            f"{path} is not a decision this version reads ({reason}): run `trimfit optimize` again"
        ) from error


def _read_contestants(folder: Path) -> tuple[Contestant, ...]:
    found = [
        Contestant(path.stem.replace("-", " "), _role(path.stem), Measurement.from_json(path))
        for path in sorted((folder / "measurements").glob("*.json"))
    ]
    empty = [each.name for each in found if not each.measurement.seconds.size]
    if empty:
        raise TrimfitError(f"the measurement of {empty[0]} holds no timed call: run `trimfit optimize` again")
    return tuple(sorted(found, key=lambda each: (_ORDER.index(each.role), each.name)))


def _role(stem: str) -> str:
    stem = stem.replace(" ", "-")
    if stem.startswith("student"):
        return "student"
    return "teacher" if stem in ("teacher", "teacher-fp32") else "baseline"


def _check_files(folder: Path, manifest: Manifest) -> tuple[FileFact, ...]:
    listed = sorted(item for item in manifest.files.items() if item[0] != PAGE_NAME)
    return tuple(_check_file(folder, name, recorded.removeprefix("sha256:")) for name, recorded in listed)


def _check_file(folder: Path, name: str, recorded: str) -> FileFact:
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        return FileFact(name, recorded, None, "outside the folder")
    if not path.is_file():
        return FileFact(name, recorded, None, "missing")
    return FileFact(name, recorded, path.stat().st_size, "matches" if _sha256(path) == recorded else "differs")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
