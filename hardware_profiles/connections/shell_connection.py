"""ShellConnection: what the connections share. Each says how a script gets to a shell there, and why it did not."""

from __future__ import annotations

import io
import itertools
import shlex
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO

from benchmarks.errors import DeviceFullError, DeviceUnreachableError
from hardware_profiles.connections import transfer
from hardware_profiles.connections.connection import Completed
from hardware_profiles.connections.pipe import Pipe
from hardware_profiles.connections.remote_command import KILL_AFTER_SECONDS, in_words, wrapped
from hardware_profiles.connections.running_process import Command, RunningProcess
from hardware_profiles.connections.session import END_COMMAND, Session, keeper_script

__all__ = ["ShellConnection"]

LINK_SECONDS = 30.0  # how long after its time limit the end of a command may take to be told
END_SECONDS = 15.0


class ShellConnection:
    """Runs everything through `sh` there; see `Connection` for what its methods promise."""

    def __init__(self, name: str):
        self.name = name
        self._session: Session | None = None
        self._lost_folder = ""
        self._lock = threading.RLock()
        self._under_way: weakref.WeakSet[Pipe | RunningProcess] = weakref.WeakSet()
        self._under_way_lock = threading.Lock()
        self._labels = itertools.count(1)

    def argv(self, script: str) -> list[str]:
        """The process here that runs `script` in a shell there, its pipes connected."""
        raise NotImplementedError

    def refusal(self, stderr: str) -> DeviceUnreachableError:
        """Why no contact was made, from what the client said."""
        raise NotImplementedError

    def prepare(self) -> None:
        """What must be done here before contact. Raises DeviceUnreachableError."""

    def hang_up(self) -> None:
        """What must be done here after the last contact, and before contact is made again after a loss."""

    @property
    def sha256_tool(self) -> str:
        """What computes a sha256 there."""
        return self._contact().sha256

    def run(
        self,
        command: Sequence[str],
        *,
        seconds: float = 60,
        folder: str | None = None,
        stdin: bytes = b"",
        env: Mapping[str, str] = {},
    ) -> Completed:
        """See Connection."""
        if not stdin:
            return self.pipe(command, seconds=seconds, folder=folder, env=env)
        with tempfile.TemporaryFile() as file:
            file.write(stdin)
            file.seek(0)
            return self.pipe(command, seconds=seconds, folder=folder, stdin=file, env=env)

    def pipe(
        self,
        command: Sequence[str],
        *,
        seconds: float,
        folder: str | None = None,
        stdin: IO[bytes] | None = None,
        stdout: IO[bytes] | None = None,
        env: Mapping[str, str] = {},
        words: str = "",
    ) -> Completed:
        """The same as `run` with files: what it reads, and where its output goes instead of into the result.

        `words` is what an error calls it. Raises OSError when `stdout` cannot be written.
        """
        what, script, label = self._script(command, seconds, folder, env, words)
        output = io.BytesIO()
        process = Pipe(self.argv(script), subprocess.DEVNULL if stdin is None else stdin, stdout or output)
        self._add(process)
        try:
            stderr, took = process.wait(seconds + KILL_AFTER_SECONDS + LINK_SECONDS)
        except BaseException:
            self._end_there(label)
            raise
        finally:
            process.close()
        exit_code, said = what.exit_code(stderr, took)
        return Completed(exit_code, output.getvalue().decode(errors="replace"), said)

    def start(
        self, command: Sequence[str], *, seconds: float, folder: str | None = None, env: Mapping[str, str] = {}
    ) -> RunningProcess:
        """See Connection."""
        what, script, label = self._script(command, seconds, folder, env)
        running = RunningProcess(self.argv(script), what, lambda: self._end_there(label))
        self._add(running)
        return running

    def push(self, source: Path, target: str) -> None:
        """See Connection."""
        transfer.push(self, source, target)

    def pull(self, source: str, target: Path) -> None:
        """See Connection."""
        transfer.pull(self, source, target)

    @contextmanager
    def folder(self) -> Iterator[str]:
        """See Connection."""
        session = self._contact()
        done = self.run(["mktemp", "-d", f"{session.folder}/work.XXXXXX"], env={"LC_ALL": "C"})
        if done.exit_code:
            full = "No space left" in done.stderr
            raise (DeviceFullError if full else DeviceUnreachableError)(
                f"got no folder in {session.folder} on {self.name} ({done.stderr.strip()}), expected a new one: free"
                " some space there, or set TMPDIR there to a folder with room"
            )
        path = done.stdout.strip()
        try:
            yield path
        finally:
            if session is self._session and session.alive:  # after a loss it goes with its session
                self._remove(path)

    def close(self) -> None:
        """See Connection."""
        with self._lock:
            session, self._session = self._session, None
            self._lost_folder = ""
            if session is not None and session.alive:
                session.close()
            self.hang_up()

    def __enter__(self) -> ShellConnection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _contact(self) -> Session:
        """The session; a new one where there is none or the link was lost."""
        with self._lock:
            if self._session is not None and self._session.alive:
                return self._session
            if self._session is not None:
                self._lost_folder = self._session.folder
                self._session.close()
                self._session = None
                self.hang_up()  # what is left of the link may not know yet that it is gone
            self.prepare()
            try:
                session = Session(self.argv(keeper_script(self._lost_folder)), self.name, self.refusal)
            except DeviceUnreachableError:
                self.hang_up()
                raise
            session.watch(self._give_up)
            self._session, self._lost_folder = session, ""
            return session

    def _give_up(self) -> None:
        """The link is silent: whoever waits for it learns so."""
        with self._under_way_lock:
            processes = list(self._under_way)
        for process in processes:
            process.kill()

    def _add(self, process: Pipe | RunningProcess) -> None:
        with self._under_way_lock:
            self._under_way.add(process)

    def _script(
        self, command: Sequence[str], seconds: float, folder: str | None, env: Mapping[str, str], words: str = ""
    ) -> tuple[Command, str, str]:
        session = self._contact()
        label = f"{session.folder}/{next(self._labels)}/"
        script = wrapped(command, seconds=seconds, label=label, folder=folder, env=env)
        return Command(words or in_words(command), self.name, seconds, folder, session.drop), script, label

    def _end_there(self, label: str) -> None:
        """End what a command started, if the link holds."""
        if self._session is None or not self._session.alive:
            return
        script = f"{END_COMMAND}end_commands {shlex.quote(label)}"
        with suppress(subprocess.TimeoutExpired):
            subprocess.run(self.argv(script), stdin=subprocess.DEVNULL, capture_output=True, timeout=END_SECONDS)

    def _remove(self, path: str) -> None:
        try:
            self.run(["rm", "-rf", path])
        except DeviceUnreachableError:
            return  # it goes with its session
