"""RemoteProcess: a worker on a device, as its starter sees it."""

from __future__ import annotations

from hardware_profiles.connections import Running

__all__ = ["RemoteProcess"]

_KILLED = 137  # as shells say it


class RemoteProcess:
    """See benchmarks.process.Process."""

    def __init__(self, running: Running) -> None:
        self.running = running

    def write(self, line: str) -> None:
        """See Process."""
        self.running.write(line)

    def read(self, seconds: float) -> str:
        """See Process. Raises DeviceUnreachableError also when the time is over."""
        return self.running.read(seconds) or ""

    def ending(self) -> str:
        """See Process."""
        code = self.running.exit_code
        end = f"exit code {code}" + (", likely out of memory" if code == _KILLED else "")
        lines = self.running.stderr_tail.strip().splitlines()
        return f"died there ({end})" + (f"; it said: {lines[-1]}" if lines else "")

    def close(self) -> None:
        """See Process."""
        self.running.close()
