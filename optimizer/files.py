"""Files that are whole or absent: everything is written beside its place and then moved there."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from benchmarks.errors import TrimfitError

__all__ = ["require_space", "sha256", "write_atomically", "write_text_atomically"]


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
