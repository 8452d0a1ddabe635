"""Connections: how a device is reached, which may be this machine, one with an ssh server, or one with adb."""

from benchmarks.errors import DeviceUnreachableError
from hardware_profiles.connections.adb import AdbConnection
from hardware_profiles.connections.connection import Completed, Connection, Running
from hardware_profiles.connections.local import LOCAL, LocalConnection
from hardware_profiles.connections.ssh import SshConnection

__all__ = ["Completed", "Connection", "Running", "connect"]


def connect(name: str) -> Connection:
    """The connection that a name means: "local", "ssh://user@host[:port]", "adb://SERIAL".

    No contact is made yet: the first command does. Raises DeviceUnreachableError for a name that is none of these.
    """
    if name == LOCAL:
        return LocalConnection()
    if name.startswith("ssh://"):
        return SshConnection(name)
    if name.startswith("adb://"):
        return AdbConnection(name)
    raise DeviceUnreachableError(f"got device {name!r}, expected {LOCAL}, ssh://user@host[:port] or adb://SERIAL")
