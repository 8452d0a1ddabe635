"""Lines of shell that run a command on a device: quoted, under a time limit there, with a mark at their true end."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping, Sequence

__all__ = ["KILL_AFTER_SECONDS", "NO_FOLDER", "in_words", "split_mark", "timed_out", "wrapped"]

KILL_AFTER_SECONDS = 5  # what `timeout` leaves a command to end by itself
NO_FOLDER = "folder"

_MARK = re.compile(r"trimfit-exit:(\d+|folder)\n?")
_ENDED_BY_TIME = (124, 137, 143)  # timeout's own; killed after that; busybox's timeout says 128 + SIGTERM


def wrapped(command: Sequence[str], *, seconds: float, label: str, folder: str | None, env: Mapping[str, str]) -> str:
    """A script for `sh -c` that runs `command` under `timeout` and writes its exit code to stderr.

    Only that mark says that the command ended: clients of ssh and adb give exit codes of their own for a lost link.

    Args:
        command: program and arguments.
        seconds: time limit there.
        label: set as TRIMFIT_COMMAND, by which the far side finds all that the command started.
        folder: where it runs, if not None.
        env: further environment variables.
    """
    names = [name for name in env if not name.isidentifier()]
    if names:
        raise ValueError(f"got {names[0]!r} as the name of an environment variable, expected letters, digits and _")
    exports = " ".join(f"{name}={shlex.quote(value)}" for name, value in {**env, "TRIMFIT_COMMAND": label}.items())
    change = f"cd {shlex.quote(folder)} 2>/dev/null || {{ echo trimfit-exit:{NO_FOLDER} >&2; exit; }}\n"
    return (
        f"{change if folder is not None else ''}"
        f"(export {exports}; exec timeout -k {KILL_AFTER_SECONDS} {_whole(seconds)} {shlex.join(command)})\n"
        'echo "trimfit-exit:$?" >&2'
    )


def split_mark(stderr: str) -> tuple[str, str | None]:
    """What a wrapped command wrote to stderr, and its exit code or NO_FOLDER; None if its end was not seen."""
    marks = list(_MARK.finditer(stderr))
    if not marks:
        return stderr, None
    return stderr[: marks[-1].start()] + stderr[marks[-1].end() :], marks[-1][1]


def timed_out(exit_code: int, took_seconds: float, limit_seconds: float) -> bool:
    """Whether a command that ended so was ended by its time limit; one may say 124 of itself, but not so late."""
    return exit_code in _ENDED_BY_TIME and took_seconds >= _whole(limit_seconds)


def in_words(command: Sequence[str]) -> str:
    """The command for a message: one line of at most 60 characters."""
    text = " ".join(shlex.join(command).split())
    return f"`{text}`" if len(text) <= 60 else f"`{text[:57]}...`"


def _whole(seconds: float) -> int:
    """Some `timeout`s know only whole seconds, and 0 means no limit to all."""
    return max(1, math.ceil(seconds))
