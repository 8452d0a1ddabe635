"""AnswerCache: what was answered before, on disk, so that no call is paid twice. It holds no text, only its hash."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.errors import TrimfitError

__all__ = ["AnswerCache", "cache_file", "key_of"]

BUSY_SECONDS = 60.0  # that another process may keep the file for itself


def cache_file() -> Path:
    """`$TRIMFIT_CACHE/teachers.sqlite`, or `~/.cache/trimfit/teachers.sqlite`."""
    base = os.environ.get("TRIMFIT_CACHE")
    return (Path(base) if base else Path.home() / ".cache" / "trimfit") / "teachers.sqlite"


def key_of(url: str, body: Any) -> str:
    """sha256 over the address and the whole request: model, prompt with its labels, settings and text."""
    return hashlib.sha256(json.dumps([url, body], sort_keys=True).encode()).hexdigest()


class AnswerCache:
    """Answers as JSON by the key of their request. Each is on disk before `store` returns, whole or not at all.

    May be used from several threads and, each with its own, from several processes.
    Raises TrimfitError where the file cannot be written or is no cache.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):  # for nobody else to read
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            self._file = sqlite3.connect(path, BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            self._run("PRAGMA journal_mode=WAL")
            self._run("PRAGMA synchronous=FULL")
            self._run("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, answer TEXT NOT NULL) WITHOUT ROWID")
        except OSError as error:
            raise TrimfitError(f"{path} cannot be written ({error.strerror}): set TRIMFIT_CACHE elsewhere") from error

    def get(self, key: str) -> Any:
        """The answer; None where there is none."""
        rows = self._run("SELECT answer FROM answers WHERE key = ?", key)
        return json.loads(rows[0][0]) if rows else None

    def store(self, key: str, answer: Any) -> None:
        """Keep an answer."""
        self._run("INSERT OR REPLACE INTO answers VALUES (?, ?)", key, json.dumps(answer))

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._file.close()

    def _run(self, statement: str, *values: str) -> list[Any]:
        try:
            with self._lock:
                return self._file.execute(statement, values).fetchall()
        except sqlite3.DatabaseError as error:
            raise TrimfitError(
                f"{self.path} is no cache of answers that can be read and written ({error}): "
                "move it away, or set TRIMFIT_CACHE elsewhere"
            ) from error
