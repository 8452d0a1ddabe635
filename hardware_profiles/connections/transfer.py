"""Transfer: files to a device and back, under a temporary name until their sha256 is found to be the same."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Protocol

from benchmarks.errors import DeviceFullError, DeviceLostError, DeviceUnreachableError, TrimfitError
from hardware_profiles.connections.connection import Completed

__all__ = ["pull", "push", "transfer_seconds"]

SLOWEST_BYTES_PER_SECOND = 100e3  # a slower link is given up

_CHANGED, _FOLDER, _NO_FILE, _UNWRITTEN = 11, 12, 13, 14
_HASH = {"python3": "python3 -c 'import hashlib,sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())'"}

# $1 the file's new name, $2 its sha256; a link that is cut is the end of stdin, and the sha256 tells
_RECEIVE = f"""
[ -d "$1" ] && exit {_FOLDER}
part=$1.trimfit-part.$$
trap 'rm -f "$part"' EXIT
trap 'exit 1' HUP INT TERM PIPE
cat > "$part" || exit {_UNWRITTEN}
got=$(HASH < "$part") || exit {_UNWRITTEN}
[ "${{got%% *}}" = "$2" ] || exit {_CHANGED}
mv -f "$part" "$1" || exit {_UNWRITTEN}
"""
_TELL = f'[ -f "$1" ] && [ -r "$1" ] || exit {_NO_FILE}; wc -c < "$1" && HASH < "$1"'


class _Far(Protocol):
    """What a transfer needs of a connection."""

    name: str

    def pipe(
        self,
        command: Sequence[str],
        *,
        seconds: float,
        stdin: IO[bytes] | None = None,
        stdout: IO[bytes] | None = None,
        env: Mapping[str, str] = {},
        words: str = "",
    ) -> Completed: ...

    @property
    def sha256_tool(self) -> str: ...


def push(far: _Far, source: Path, target: str) -> None:
    """Copy `source` to `target` there. Raises TrimfitError for a source that is no file, DeviceFullError."""
    if not source.is_file():
        raise TrimfitError(f"got {source} to copy to {far.name}, expected a file: no such file")
    sha256 = _sha256(source)
    script = _RECEIVE.replace("HASH", _hash_command(far))
    with source.open("rb") as file:
        done = far.pipe(
            ["sh", "-c", script, "sh", target, sha256],
            seconds=transfer_seconds(source.stat().st_size),
            stdin=file,
            env={"LC_ALL": "C"},
            words=f"the copy of {source.name}",
        )
    if done.exit_code == 0:
        return
    if done.exit_code == _CHANGED:
        raise DeviceLostError(
            f"got {source.name} with another sha256 on {far.name} than here, expected the same: the copy was removed"
            " there; copy it again"
        )
    if done.exit_code == _FOLDER:
        raise TrimfitError(f"got the folder {target} on {far.name} to copy {source.name} to, expected a file's name")
    raise _unwritten(far, source, target, done)


def pull(far: _Far, source: str, target: Path) -> None:
    """Copy `source` from there to `target`. Raises TrimfitError where it is missing, DeviceFullError for this disk."""
    told = far.pipe(
        ["sh", "-c", _TELL.replace("HASH", _hash_command(far)), "sh", source],
        seconds=600,
        words=f"the copy of {source}",
    )
    if told.exit_code:
        raise TrimfitError(f"got no file {source} on {far.name}, expected one to copy from there")
    size, sha256 = told.stdout.split()[:2]
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".trimfit-part", dir=target.parent)
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            limit = transfer_seconds(int(size))
            far.pipe(["cat", source], seconds=limit, stdout=file, words=f"the copy of {source}")
        if _sha256(part) != sha256:
            raise DeviceLostError(
                f"got {source} with another sha256 here than on {far.name}, expected the same: the copy was removed;"
                " see that nothing writes to the file there and copy it again"
            )
        part.chmod(0o644)
        part.replace(target)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DeviceFullError(
            f"got a full disk here while copying {source} ({_size(int(size))}) from {far.name}, expected room for it in"
            f" {target.parent}: free some"
        ) from error
    finally:
        with suppress(FileNotFoundError):
            part.unlink()


def transfer_seconds(size: int) -> float:
    """Time limit for a file of `size` bytes."""
    return 60 + size / SLOWEST_BYTES_PER_SECOND


def _unwritten(far: _Far, source: Path, target: str, done: Completed) -> DeviceUnreachableError:
    said = " ".join(done.stderr.split()) or f"exit code {done.exit_code}"
    if "No space left" not in said and "quota" not in said:
        return DeviceUnreachableError(
            f"got {said} while copying {source.name} to {far.name}, expected to write {target}: see that its folder is"
            " there and may be written"
        )
    folder = target.rpartition("/")[0] or "."
    df = far.pipe(["df", "-Pk", folder], seconds=60).stdout.split("\n")
    cells = df[1].split() if len(df) > 1 else []
    free = f", {_size(int(cells[3]) * 1024)} are free there" if len(cells) > 3 and cells[3].isdigit() else ""
    return DeviceFullError(
        f"got a full disk on {far.name} while copying {source.name} ({_size(source.stat().st_size)}), expected room for"
        f" it in {folder}{free}: free some, or set TMPDIR there to a folder with room"
    )


def _hash_command(far: _Far) -> str:
    return _HASH.get(far.sha256_tool, far.sha256_tool)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
