"""Contestant: what to time and how; Launch: one start of a process that runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from pydantic import BaseModel, ConfigDict, field_validator

from benchmarks.errors import TrimfitError
from benchmarks.measurement import Subject
from benchmarks.onnx_file import file_bytes, file_sha256
from benchmarks.workload import Workload

__all__ = ["Contestant", "Launch"]

WORKER = Path(__file__).parent / "worker"
PATIENCE_SECONDS = 600.0  # for one answer of a worker, after which it is ended
BUILT_IN = "onnxruntime-cpu"


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
    env: dict[str, str] = {}
    """Environment variables of its process, beside those of this one."""

    @field_validator("model", "inputs", "loader")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return None if path is None else path.expanduser().absolute()

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
        if "custom_op_library" in settings:
            settings["custom_op_library"] = _by_content(settings["custom_op_library"])
        if "library" in settings.get("ep", {}):
            settings["ep"] = {**settings["ep"], "library": _by_content(settings["ep"]["library"])}
        return settings


class Launch:
    """One process of a contestant. Use as a context manager: the process never outlives the block.

    Raises:
        TrimfitError: from every method, with one line that names the contestant, when the process fails or
            dies.
    """

    def __init__(self, contestant: Contestant, inputs: Path, seed: int, names: tuple[str, ...] | None = None) -> None:
        self.contestant = contestant
        job = {
            "model": str(contestant.model),
            "runtime": contestant.runtime,
            "options": contestant.options,
            "threads": contestant.workload.threads,
            "inputs": str(inputs),
            "names": list(names) if names else None,
            "lengths": [p.seq_len for p, _ in contestant.workload.points()] if contestant.workload.lengths else None,
            "seed": seed,
            "loader": str(contestant.loader) if contestant.loader else None,
        }
        self.log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  (lives as long as the process, closed in end())
        self.process = subprocess.Popen(
            [str(contestant.python or sys.executable), str(WORKER), json.dumps(job, default=str)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env={**os.environ, **contestant.env},
        )

    def __enter__(self) -> Launch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def ready(self) -> Mapping[str, Any]:
        """Wait until the runtime is imported."""
        return self._answer()

    def ask(self, command: str, **arguments: Any) -> Mapping[str, Any]:
        """Send one command of the worker ("load", "warm", "turn", "end") and wait for its answer."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps({command: arguments}) + "\n")
            self.process.stdin.flush()
        except OSError:
            pass  # the process is gone: reading its answer says how
        return self._answer()

    def close(self) -> None:
        """End the process and wait for it."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.log):
            if stream is not None and not stream.closed:
                _close(stream)

    def _answer(self) -> Mapping[str, Any]:
        assert self.process.stdout is not None
        watchdog = threading.Timer(PATIENCE_SECONDS, self.process.kill)
        watchdog.start()
        try:
            line = self.process.stdout.readline()
        finally:
            watchdog.cancel()
        if not line:
            raise TrimfitError(self._obituary())
        answer = json.loads(line)
        if "error" in answer:
            raise TrimfitError(
                f"got {answer['error']} from {self.contestant.runtime} for {self.contestant.name} "
                f"({self.contestant.model.name}), expected it to load and run: check the model and the options"
            )
        ok: Mapping[str, Any] = answer["ok"]
        return ok

    def _obituary(self) -> str:
        code = self.process.wait()
        end = f"exit code {code}"
        if code < 0:
            end = f"signal {signal.Signals(-code).name}"
            end += ", likely out of memory or time" if -code == signal.SIGKILL else ""
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").strip().splitlines()
        said = f"; it said: {lines[-1]}" if lines else ""
        return (
            f"the process timing {self.contestant.name} ({self.contestant.model.name}) died ({end}){said}: "
            "check the model in its runtime alone"
        )


def _by_content(name: object) -> object:
    library = Path(str(name))
    return f"{library.name} sha256:{file_sha256(library)}" if library.is_file() else name


def _close(stream: IO[Any]) -> None:
    try:
        stream.close()
    except OSError:
        return  # the pipe of a process that died: nothing left to flush to
