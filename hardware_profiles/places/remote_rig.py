"""RemoteRig: many small graphs held by one worker on a device, and timed there in turns."""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.budget import Budget
from benchmarks.contestant import check_version, options_at
from benchmarks.errors import TrimfitError, TrimfitWarning
from benchmarks.process import Process
from benchmarks.rig import Graph

if TYPE_CHECKING:
    from hardware_profiles.places.remote_place import RemotePlace

__all__ = ["RemoteRig"]

_PATIENCE_SECONDS = 600.0  # for an answer, beyond the time that was asked for


class RemoteRig:
    """The worker is started with the first graph. All rounds are made that there is time for. See Rig."""

    def __init__(self, place: RemotePlace) -> None:
        self.place = place
        self.names: list[str] = []
        self.threads = 1
        self._process: Process | None = None
        self._model: str | None = None  # the last one that was sent
        self._pinned: dict[int, list[int]] = {}
        self._scratch = tempfile.TemporaryDirectory(prefix="trimfit-")

    def __enter__(self) -> RemoteRig:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.close()
        self._scratch.cleanup()

    def __len__(self) -> int:
        return len(self.names)

    def load(self, name: str, graph: Graph) -> None:
        """See Rig."""
        if self._process is None:
            self.place.rest()
            self._process = self.place.start({"rig": {}})
            check_version(self._answer("the start"), self.place.name)
        before, self._model = self._model, self._sent(graph.model)
        self._ask(
            "open",
            name,
            name=name,
            model=self._model,
            options=options_at(self.place, graph.options),
            loader=self.place.file(graph.loader) if graph.loader else None,
            threads=graph.threads,
            feed=self.place.files.send_arrays(graph.feed, Path(self._scratch.name)),
            cpus=self._cpus(graph.threads),
            remove=self.place.files.forget(before) if before not in (None, self._model) else (),
        )
        self.names.append(name)
        self.threads = max(self.threads, graph.threads)

    def measure(self, *, budget: Budget | None = None, seed: int = 0) -> dict[str, NDArray[np.float64]]:
        """See Rig."""
        if not self.names:
            raise TrimfitError("got no graphs, expected at least one: load what to measure")
        budget = budget or Budget()
        self.place.rest()
        environment = self.place.environment()
        found = self._ask(
            "time",
            f"{len(self.names)} graphs",
            seconds=budget.seconds_for(len(self.names)),
            rounds=budget.launches * budget.rounds,
            seed=seed,
            cpus=self._cpus(self.threads),
        )
        after = self.place.finished(environment, 0.0).after
        if after is not None and after.slowed:
            text = f"{self.place.name} was slowed down while {len(self.names)} graphs were timed: {after.slowed[0]}"
            warnings.warn(text, TrimfitWarning, stacklevel=2)
        return {name: np.array(values) for name, values in found["rounds"].items()}

    def _sent(self, model: Path | bytes) -> str:
        if isinstance(model, bytes):
            path = Path(self._scratch.name) / "model.onnx"
            path.write_bytes(model)
            model = path
        return self.place.file(model)

    def _cpus(self, threads: int) -> list[int]:
        """The same for every graph of so many threads."""
        if threads not in self._pinned:
            self._pinned[threads] = list(self.place.cpus(threads, np.random.default_rng(0)))
        return self._pinned[threads]

    def _ask(self, command: str, what: str, **arguments: Any) -> Mapping[str, Any]:
        assert self._process is not None
        self._process.write(json.dumps({command: arguments}, default=str))
        return self._answer(what, arguments.get("seconds", 0.0))

    def _answer(self, what: str, seconds: float = 0.0) -> Mapping[str, Any]:
        assert self._process is not None
        line = self._process.read(seconds + _PATIENCE_SECONDS)
        if not line:
            raise TrimfitError(
                f"the worker on {self.place.name} {self._process.ending()}: see that it has memory for {what}"
            )
        answer = json.loads(line)
        if "error" in answer:
            raise TrimfitError(
                f"got {answer['error']} on {self.place.name} for {what}, expected it to load and run: check its"
                " onnxruntime"
            )
        ok: Mapping[str, Any] = answer["ok"]
        return ok
