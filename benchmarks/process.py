"""Process: the worker as its starter sees it, line by line; LocalProcess: one on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from typing import IO, Any, Protocol

__all__ = ["LocalProcess", "Process"]


class Process(Protocol):
    """A worker that was started, wherever it runs."""

    def write(self, line: str) -> None:
        """Send it a line. One that is gone is found out by reading its answer."""
        ...

    def read(self, seconds: float) -> str:
        """Its next line, waited for so long at most (it is ended then); empty when it has ended.

        Raises DeviceUnreachableError when it is the link to it that has ended.
        """
        ...

    def ending(self) -> str:
        """How it ended, and its last words: "died (exit code 3); it said: no licence"."""
        ...

    def close(self) -> None:
        """End it and wait for it."""
        ...


class LocalProcess:
    """A process of this machine, with a log of what it says on standard error."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        self.log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  (lives as long as the process)
        self.popen = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env={**os.environ, **env},
        )

    def write(self, line: str) -> None:
        """See Process."""
        assert self.popen.stdin is not None
        try:
            self.popen.stdin.write(line + "\n")
            self.popen.stdin.flush()
        except OSError:
            pass  # the process is gone: reading its answer says how

    def read(self, seconds: float) -> str:
        """See Process."""
        assert self.popen.stdout is not None
        watchdog = threading.Timer(seconds, self.popen.kill)
        watchdog.start()
        try:
            return self.popen.stdout.readline()
        finally:
            watchdog.cancel()

    def ending(self) -> str:
        """See Process."""
        code = self.popen.wait()
        end = f"exit code {code}"
        if code < 0:
            end = f"signal {signal.Signals(-code).name}"
            end += ", likely out of memory or time" if -code == signal.SIGKILL else ""
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").strip().splitlines()
        return f"died ({end})" + (f"; it said: {lines[-1]}" if lines else "")

    def close(self) -> None:
        """See Process."""
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait()
        for stream in (self.popen.stdin, self.popen.stdout, self.log):
            if stream is not None and not stream.closed:
                _close(stream)


def _close(stream: IO[Any]) -> None:
    try:
        stream.close()
    except OSError:
        return  # the pipe of a process that died: nothing left to flush to
