"""RemoteFiles: files of this machine in the working folder on a device, each sent once for its content."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks.onnx_file import file_parts, file_sha256
from hardware_profiles.connections import Connection

__all__ = ["RemoteFiles"]

_DIGITS = 16  # of a sha256, in the names there


class RemoteFiles:
    """What is in a folder there, by content."""

    def __init__(self, connection: Connection, folder: str) -> None:
        self.connection, self.folder = connection, folder
        self._sent: dict[str, tuple[str, ...]] = {}

    def send(self, path: Path) -> str:
        """Have a file there, with its external data beside it; its name there."""
        digest = file_sha256(path)
        key = f"{digest[:_DIGITS]}-{path.name}"
        if key not in self._sent:
            self._sent[key] = self._push(path, key)
        return self._sent[key][0]

    def send_arrays(self, arrays: Mapping[str, np.ndarray], scratch: Path) -> str:
        """Have arrays there as an .npz, by way of a file in `scratch`; its name there."""
        path = scratch / "arrays.npz"
        np.savez_compressed(path, **arrays)  # type: ignore[arg-type]  # the stub takes all keywords for its own
        return self.send(path)

    def forget(self, name: str) -> tuple[str, ...]:
        """Files there of what `send` called so; they are about to be removed."""
        key = next(key for key, names in self._sent.items() if names[0] == name)
        return self._sent.pop(key)

    def _push(self, path: Path, key: str) -> tuple[str, ...]:
        parts = file_parts(path)
        if len(parts) == 1:
            target = f"{self.folder}/{key}"
            self.connection.push(path, target)
            return (target,)
        # external data is found by its name beside the model
        names = tuple(f"{self.folder}/{key}.d/{part.relative_to(path.parent).as_posix()}" for part in parts)
        folders = sorted({name.rpartition("/")[0] for name in names})
        self.connection.run(["mkdir", "-p", *folders])
        for part, name in zip(parts, names, strict=True):
            self.connection.push(part, name)
        return names
