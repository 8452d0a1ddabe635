"""RunningProcess: a command under way on a device, through the process here that carries its pipes."""

from __future__ import annotations

import queue
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import IO, NamedTuple

from benchmarks.errors import DeviceLostError, DeviceTimeoutError, DeviceUnreachableError
from hardware_profiles.connections.remote_command import KILL_AFTER_SECONDS, NO_FOLDER, split_mark, timed_out

__all__ = ["Command", "RunningProcess", "last_line"]

TAIL_LINES = 100
GOODBYE_SECONDS = 1.0


class Command(NamedTuple):
    """What runs, for messages and for its end."""

    words: str
    """The command in a message."""
    device: str
    """The connection's name."""
    seconds: float
    """Its time limit there."""
    folder: str | None = None
    on_loss: Callable[[], None] = lambda: None
    """Called when its end was not seen."""

    def timeout_error(self) -> DeviceTimeoutError:
        """Its time limit ended it."""
        return DeviceTimeoutError(
            f"got no end of {self.words} on {self.device} within {self.seconds:g} s, expected one: it was ended there;"
            " give it less to do or see what holds it up"
        )

    def lost_error(self, reason: str) -> DeviceLostError:
        """The link broke. `reason` is what the client said of it, if anything."""
        said = f" ({reason})" if reason else ""
        return DeviceLostError(
            f"got no end of {self.words} from {self.device}, expected its exit code: the link was lost{said}; see that"
            " the device is on and reachable, then do the same again"
        )

    def exit_code(self, stderr: str, took_seconds: float) -> tuple[int, str]:
        """The exit code and what it wrote to stderr.

        Raises:
            DeviceLostError: the mark of its end is missing, or its folder went with a link that was lost before.
            DeviceTimeoutError: its time limit ended it.
        """
        said, mark = split_mark(stderr)
        if mark is None:
            self.on_loss()
            raise self.lost_error(last_line(said))
        if mark == NO_FOLDER:
            raise DeviceLostError(
                f"got no folder {self.folder} on {self.device}, expected the one that {self.words} runs in: a folder is"
                " removed there when the link is lost; make a new one and push the files again"
            )
        if timed_out(int(mark), took_seconds, self.seconds):
            raise self.timeout_error()
        return int(mark), said


class RunningProcess:
    """Lines to and from a process. Two threads read its pipes, so that it never waits for us."""

    def __init__(self, argv: list[str], command: Command, end_there: Callable[[], None]):
        """`argv` is the process here; `end_there` ends what it started on the device, when its `close` asks for it."""
        self._command = command
        self._end_there = end_there
        self._began = time.monotonic()
        self._took: float | None = None
        self._exit_code: int | None = None
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,  # Ctrl-C is for us: we end what runs there, which needs this process
        )
        stdout, stderr = self._process.stdout, self._process.stderr
        assert stdout is not None
        assert stderr is not None
        self._tail_reader = threading.Thread(target=self._read_tail, args=(stderr,), daemon=True)
        self._readers = {
            stdout: threading.Thread(target=self._read_lines, args=(stdout,), daemon=True),
            stderr: self._tail_reader,
        }
        for reader in self._readers.values():
            reader.start()

    @property
    def stderr_tail(self) -> str:
        """The last lines of its stderr, without the mark of its end."""
        return split_mark("".join(list(self._tail)))[0]

    @property
    def exit_code(self) -> int | None:
        """None until its end was seen."""
        return self._exit_code

    def write(self, line: str) -> None:
        """Send a line; lost without a word where nobody reads any more."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.rstrip("\n") + "\n")
            self._process.stdin.flush()
        except (OSError, ValueError):
            return  # gone or closed: `read` says how it ended

    def read(self, seconds: float) -> str | None:
        """Its next whole line; None once it has ended by itself. Raises DeviceTimeoutError, DeviceLostError."""
        try:
            line = self._lines.get(timeout=seconds)
        except queue.Empty:
            raise DeviceTimeoutError(
                f"got no line from {self._command.words} on {self._command.device} for {seconds:g} s, expected an"
                " answer: see what holds it up there"
            ) from None
        if line is not None:
            return line
        self._lines.put(None)  # the next read finds the same end
        self._tail_reader.join(GOODBYE_SECONDS)
        self._exit_code, _ = self._command.exit_code("".join(self._tail), self._took or 0.0)
        return None

    def close(self, patience: float = GOODBYE_SECONDS) -> None:
        """Close its stdin; end it, there first, unless it ends within `patience` seconds."""
        if self._process.poll() is None:
            assert self._process.stdin is not None
            _close(self._process.stdin)
            try:
                self._process.wait(patience)
            except subprocess.TimeoutExpired:
                self._ask_to_end()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._note_exit_code()
        for stream, reader in self._readers.items():
            reader.join(GOODBYE_SECONDS)
            if not reader.is_alive():  # one that is: something there outlived it and has the other end of the pipe
                _close(stream)

    def kill(self) -> None:
        """End the process here; what it started there ends by its time limit or with the session."""
        self._process.kill()

    @property
    def has_ended(self) -> bool:
        """Whether the process here is gone."""
        return self._process.poll() is not None

    def __enter__(self) -> RunningProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask_to_end(self) -> None:
        try:
            self._end_there()
            self._process.wait(KILL_AFTER_SECONDS)
        except (DeviceUnreachableError, subprocess.TimeoutExpired):
            return  # the link is gone: its time limit ends it there

    def _note_exit_code(self) -> None:
        mark = split_mark("".join(self._tail))[1]
        if mark is not None and mark != NO_FOLDER:
            self._exit_code = int(mark)

    def _read_lines(self, stream: IO[str]) -> None:
        for line in stream:
            if line.endswith("\n"):  # else the link broke within it
                self._lines.put(line.rstrip("\n"))
        self._took = time.monotonic() - self._began
        self._lines.put(None)

    def _read_tail(self, stream: IO[str]) -> None:
        for line in stream:
            self._tail.append(line)


def last_line(text: str) -> str:
    """The last line that says something; empty where none does."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def _close(stream: IO[str]) -> None:
    try:
        stream.close()
    except OSError:
        return  # the pipe of a process that died: nothing left to flush to
