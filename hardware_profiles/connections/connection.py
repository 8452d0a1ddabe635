"""Connection: a way to run commands on a device and to move files there and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Protocol

__all__ = ["Completed", "Connection", "Running"]


class Completed(NamedTuple):
    """A command that ended on the device."""

    exit_code: int
    stdout: str
    stderr: str


class Running(Protocol):
    """A command under way on the device, talked to in lines. As a context manager it is ended with the block."""

    @property
    def stderr_tail(self) -> str:
        """The last lines it wrote to stderr so far."""

    @property
    def exit_code(self) -> int | None:
        """None until `read` has returned None; also afterwards where it was ended by `close`."""

    def write(self, line: str) -> None:
        """Send a line. To a command that is gone it is lost without a word: the next `read` says how it ended."""

    def read(self, seconds: float) -> str | None:
        """Its next line without the line break; None once it has ended by itself, whatever its exit code.

        Raises:
            DeviceTimeoutError: no line came within `seconds`, or its own time limit ended it.
            DeviceLostError: the link broke.
        """

    def close(self) -> None:
        """End it there, if it has not ended within a second of its stdin being closed. May be called again."""

    def __enter__(self) -> Running: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Connection(Protocol):
    """A device as one types at it. Made without contact; the first command makes it, and makes it anew after a loss.

    Whatever is started there has a time limit there. When the link is gone, the far side notices (at once when it
    is closed, within a minute when it is silent), ends what still runs, and removes its working folders.

    Raises:
        DeviceUnreachableError: from every method but `close`: the device is not there, is not the one that is known,
            lets nobody in, or has no `timeout`. DeviceLostError when it was there before.
    """

    name: str
    """As on the command line: "local", "ssh://pi@host:2222", "adb://SERIAL"."""

    def run(
        self,
        command: Sequence[str],
        *,
        seconds: float = 60,
        folder: str | None = None,
        stdin: bytes = b"",
        env: Mapping[str, str] = {},
    ) -> Completed:
        """Run a command there to its end. An exit code other than 0 is a result, no error.

        Args:
            command: program and arguments, as they are: no shell looks at them.
            seconds: time limit there, rounded up to whole seconds; 5 seconds later it is killed.
            folder: where it runs; the home folder where None.
            stdin: what it reads.
            env: environment variables of its own, beside those of a login there.

        Raises:
            DeviceTimeoutError: the time limit ended it.
        """

    def start(
        self, command: Sequence[str], *, seconds: float, folder: str | None = None, env: Mapping[str, str] = {}
    ) -> Running:
        """Start a command there and talk to it. The arguments are those of `run`."""

    def push(self, source: Path, target: str) -> None:
        """Copy a file there; `target` is its new name and appears whole (same sha256) or not at all.

        Raises:
            DeviceFullError: the disk there is full.
        """

    def pull(self, source: str, target: Path) -> None:
        """Copy a file from there; `target` is its new name and appears whole (same sha256) or not at all.

        Raises:
            DeviceFullError: the disk here is full.
        """

    def folder(self) -> AbstractContextManager[str]:
        """A fresh folder there, removed afterwards, also after an error; absolute."""

    def close(self) -> None:
        """Remove what is left there and end the link. May be called again."""

    def __enter__(self) -> Connection: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
