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


# Marked as the session's before it looks whether the session is there; the session, when it ends, hides its folder
# before it looks for marks. So none is missed, however close the two come.
_START = '[ -d "${TRIMFIT_COMMAND%/*/}" ] && exec timeout -k "$0" "$@"'


def wrapped(command: Sequence[str], *, seconds: float, label: str, folder: str | None, env: Mapping[str, str]) -> str:
    """A script for `sh -c` that runs `command` under `timeout` and writes its exit code to stderr.

    Only that mark says that the command ended: clients of ssh and adb give exit codes of their own for a lost link. It
    is not made any more when the session has ended.

    Args:
        command: program and arguments.
        seconds: time limit there.
        label: "SESSION'S FOLDER/NUMBER/", set as TRIMFIT_COMMAND, by which all that the command started is found there.
        folder: where it runs, if not None.
        env: further environment variables.
    """
    names = [name for name in env if not name.isidentifier()]
    if names:
        raise ValueError(f"got {names[0]!r} as the name of an environment variable, expected letters, digits and _")
    exports = " ".join(f"{name}={shlex.quote(value)}" for name, value in {**env, "TRIMFIT_COMMAND": label}.items())
    change = ""
    if folder is not None:
        change = f"cd {shlex.quote(folder)} 2>/dev/null || {{ echo trimfit-exit:{NO_FOLDER} >&2; exit; }}\n"
    limited = f"sh -c {shlex.quote(_START)} {KILL_AFTER_SECONDS} {_whole(seconds)} {shlex.join(command)}"
    return (
        f"{change}(export {exports}; exec {limited})\n"
        f"code=$?; [ -d {shlex.quote(label.rsplit('/', 2)[0])} ] && echo trimfit-exit:$code >&2"
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
