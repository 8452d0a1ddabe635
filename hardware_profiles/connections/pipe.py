"""Pipe: one process here whose stdin and stdout are files, run to its end."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from contextlib import suppress
from typing import IO

__all__ = ["Pipe"]

STRAGGLER_SECONDS = 1.0


class Pipe:
    """A process from its start to its end; `kill` may come from another thread."""

    def __init__(self, argv: list[str], stdin: IO[bytes] | int, stdout: IO[bytes]):
        """Start `argv`; what it writes is copied to `stdout` by us, so that a full disk here is our error to tell."""
        self._began = time.monotonic()
        self._sink = stdout
        self._failure: OSError | None = None
        self._stderr = b""
        self._process = subprocess.Popen(
            argv,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for us: we end what runs there, which needs this process
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._threads = [
            threading.Thread(target=self._copy, args=(self._process.stdout,), daemon=True),
            threading.Thread(target=self._listen, args=(self._process.stderr,), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def wait(self, seconds: float) -> tuple[str, float]:
        """Its stderr and how many seconds it took; it is killed after `seconds`.

        Raises:
            OSError: `stdout` could not be written.
        """
        with suppress(subprocess.TimeoutExpired):  # what the far side says of its end, or does not, decides
            self._process.wait(seconds)
        took = time.monotonic() - self._began
        self.close()
        if self._failure is not None:
            raise self._failure
        return self._stderr.decode(errors="replace"), took

    def kill(self) -> None:
        """End the process here; what it started there ends by its time limit or with the session."""
        self._process.kill()

    def close(self) -> None:
        """Kill it unless it has ended, and take what it has written."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for thread in self._threads:
            thread.join(STRAGGLER_SECONDS)  # something that outlived it may have the other end of the pipe

    def _copy(self, stream: IO[bytes]) -> None:
        with stream:
            try:
                shutil.copyfileobj(stream, self._sink, 1 << 20)
                self._sink.flush()
            except OSError as error:
                self._failure = error
                self._process.kill()

    def _listen(self, stream: IO[bytes]) -> None:
        with stream:
            self._stderr = stream.read()
