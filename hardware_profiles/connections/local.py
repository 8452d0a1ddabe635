"""LocalConnection: this machine, as if it were a remote one."""

from __future__ import annotations

import shutil

from benchmarks.errors import DeviceUnreachableError
from hardware_profiles.connections.running_process import last_line
from hardware_profiles.connections.shell_connection import ShellConnection

__all__ = ["LOCAL", "LocalConnection"]

LOCAL = "local"


class LocalConnection(ShellConnection):
    """Runs `sh` here: what works through it works through the others."""

    def __init__(self, name: str = LOCAL):
        super().__init__(name)

    def argv(self, script: str) -> list[str]:
        """A shell."""
        return ["sh", "-c", script]

    def prepare(self) -> None:
        """Raises DeviceUnreachableError where there is no shell."""
        if shutil.which("sh") is None:
            raise DeviceUnreachableError("got no `sh` here, expected a system with one, such as Linux")

    def refusal(self, stderr: str) -> DeviceUnreachableError:
        """The shell died."""
        return DeviceUnreachableError(
            f"got no shell here ({last_line(stderr) or 'it ended at once'}), expected `sh` to run: try it by hand"
        )
