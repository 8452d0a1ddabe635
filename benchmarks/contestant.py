"""Contestant: what to time and how; Launch: one start of a process that runs it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator

from benchmarks.errors import TrimfitError
from benchmarks.measurement import Subject
from benchmarks.onnx_file import file_bytes, file_sha256
from benchmarks.place import Place, current_place
from benchmarks.worker.__main__ import version
from benchmarks.workload import Workload

__all__ = ["LIBRARY", "Contestant", "Launch", "check_version", "options_at"]

PATIENCE_SECONDS = 600.0  # for one answer of a worker, after which it is ended
BUILT_IN = "onnxruntime-cpu"
LIBRARY = "custom_op_library"  # of the options, the one that names a file


class Contestant(BaseModel):
    """A model file with the runtime, options, workload and inputs it is to be timed with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    model: Path
    runtime: str = BUILT_IN
    options: dict[str, Any] = {}
    """For onnxruntime any of the worker's OPTIONS."""
    workload: Workload = Workload()
    inputs: Path | None = None
    """An .npz of arrays [pool, batch, seq, ...] by input name (for a workload of several lengths: "9/input_ids", the
    length first); a call takes a random row. None: made up."""
    dims: dict[str, int] = {}
    """Sizes of symbolic dimensions other than batch and sequence length, for made-up inputs."""
    python: Path | None = None
    """The interpreter to run in, where the runtime lives in a virtual environment of its own."""
    loader: Path | None = None
    """A Python file whose `load(job)` returns a function of a feed, for a runtime other than onnxruntime."""
    source: Path | None = None
    """The ONNX file that `model` was made of, where that has another form: it tells what inputs there are."""
    env: dict[str, str] = {}
    """Environment variables of its process, beside those of this one."""

    @field_validator("model", "inputs", "loader", "source")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return None if path is None else path.expanduser().absolute()

    @property
    def onnx(self) -> Path:
        """The file that tells what inputs there are."""
        return self.source or self.model

    @property
    def subject(self) -> Subject:
        """What a measurement of this contestant says it is of.

        Raises:
            TrimfitError: the model file is missing.
        """
        if not self.model.exists():
            raise TrimfitError(f"got {self.model} for {self.name}, expected a model file: no such file")
        return Subject(
            name=self.name,
            sha256=file_sha256(self.model),
            runtime=self.runtime,
            options=json.loads(json.dumps(self._settings, default=str)),
            workload=self.workload,
            file_bytes=file_bytes(self.model),
            inputs_sha256=file_sha256(self.inputs) if self.inputs else None,
        )

    @property
    def _settings(self) -> dict[str, Any]:
        """All that decides how the model runs; libraries by their content, wherever they lie."""
        settings = {**self.options, "env": self.env} if self.env else dict(self.options)
        if LIBRARY in settings:
            settings[LIBRARY] = _by_content(settings[LIBRARY])
        if "library" in settings.get("ep", {}):
            settings["ep"] = {**settings["ep"], "library": _by_content(settings["ep"]["library"])}
        return settings


class Launch:
    """One process of a contestant. Use as a context manager: the process never outlives the block.

    It runs at the place in force.

    Raises:
        TrimfitError: from every method, with one line that names the contestant, when the process fails or
            dies.
    """

    def __init__(self, contestant: Contestant, inputs: Path, seed: int, names: tuple[str, ...] | None = None) -> None:
        self.contestant = contestant
        place = current_place()
        job = {
            "model": place.file(contestant.model),
            "runtime": contestant.runtime,
            "options": options_at(place, contestant.options),
            "threads": contestant.workload.threads,
            "inputs": place.file(inputs),
            "names": list(names) if names else None,
            "lengths": [p.seq_len for p, _ in contestant.workload.points()] if contestant.workload.lengths else None,
            "seed": seed,
            "loader": place.file(contestant.loader) if contestant.loader else None,
        }
        self.process = place.start(job, python=contestant.python, env=contestant.env)

    def __enter__(self) -> Launch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def ready(self) -> Mapping[str, Any]:
        """Wait until the runtime is imported."""
        answer = self._answer()
        check_version(answer, current_place().name)
        return answer

    def ask(self, command: str, **arguments: Any) -> Mapping[str, Any]:
        """Send one command of the worker ("load", "warm", "turn", "end") and wait for its answer."""
        self.process.write(json.dumps({command: arguments}))
        return self._answer()

    def close(self) -> None:
        """End the process and wait for it."""
        self.process.close()

    def _answer(self) -> Mapping[str, Any]:
        line = self.process.read(PATIENCE_SECONDS)
        if not line:
            raise TrimfitError(
                f"the process timing {self.contestant.name} ({self.contestant.model.name}) {self.process.ending()}: "
                "check the model in its runtime alone"
            )
        answer = json.loads(line)
        if "error" in answer:
            raise TrimfitError(
                f"got {answer['error']} from {self.contestant.runtime} for {self.contestant.name} "
                f"({self.contestant.model.name}), expected it to load and run: check the model and the options"
            )
        ok: Mapping[str, Any] = answer["ok"]
        return ok


def options_at(place: Place, options: Mapping[str, Any]) -> dict[str, Any]:
    """A runtime's options with the names that its files have at a place."""
    library = options.get(LIBRARY)
    return {**options, LIBRARY: place.file(Path(library))} if library else dict(options)


def check_version(answer: Mapping[str, Any], where: str) -> None:
    """Refuse a worker that is not this trimfit's, by its first answer."""
    if (found := answer.get("worker")) != version():
        raise TrimfitError(
            f"got worker {found} on {where}, expected {version()}, which this trimfit sends:"
            " remove what was left there by another version and run it again"
        )


def _by_content(name: object) -> object:
    library = Path(str(name))
    return f"{library.name} sha256:{file_sha256(library)}" if library.is_file() else name
