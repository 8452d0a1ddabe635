"""Files that are whole or absent: everything is written beside its place and then moved there."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from benchmarks.errors import TrimfitError

try:
    import fcntl
except ImportError:  # Windows has none: two runs in one folder are not noticed there
    fcntl = None  # type: ignore[assignment]

__all__ = ["lock", "require_space", "sha256", "write_atomically", "write_text_atomically"]

_LOCKS: list[object] = []  # open files; closing one would let go of it


def write_atomically(path: Path, write: Callable[[Path], object]) -> Path:
    """Let `write` fill a temporary file, then move it to `path` in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def write_text_atomically(path: Path, text: str) -> Path:
    """Write UTF-8 text so that `path` is never half-written."""
    return write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def lock(path: Path) -> None:
    """Hold `path` for as long as this process lives. Raises TrimfitError when another process holds it."""
    if fcntl is None:
        return
    file = path.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise TrimfitError(
            f"another run is at work in {path.parent.parent}: wait for it, or choose another --out"
        ) from error
    _LOCKS.append(file)


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return (
            hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(file.read())
        )


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def require_space(folder: Path, needed: int) -> None:
    """Raise TrimfitError unless the disk of `folder` has `needed` bytes free."""
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise TrimfitError(
            f"{free / 2**30:.1f} GiB free at {folder}, expected {needed / 2**30:.1f} GiB for checkpoints and exports: "
            "free some space or choose another --out"
        )
