"""SshConnection: a device with an ssh server, through the OpenSSH client and the user's own configuration of it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from benchmarks.errors import DeviceUnreachableError
from hardware_profiles.connections.running_process import last_line
from hardware_profiles.connections.shell_connection import ShellConnection

__all__ = ["CONFIG_VARIABLE", "SshConnection"]

CONFIG_VARIABLE = "TRIMFIT_SSH_CONFIG"
"""Environment variable: a configuration file of ssh to use instead of the user's."""
CONNECT_SECONDS = 10
HANG_UP_SECONDS = 10
SOCKETS = "trimfit-ssh."

# One connection carries all; nothing is asked, nothing is forwarded, and no host is trusted that is not known already.
_OPTIONS = {
    "BatchMode": "yes",
    "StrictHostKeyChecking": "yes",
    "ControlMaster": "auto",
    "ControlPersist": "30",
    "ConnectTimeout": str(CONNECT_SECONDS),
    "ServerAliveInterval": "5",
    "ServerAliveCountMax": "3",
    "ClearAllForwardings": "yes",
    "RemoteCommand": "none",
    "RequestTTY": "no",
    "LogLevel": "ERROR",
}
_REASONS = {
    "Could not resolve": (
        "got no address for {host}",
        "expected a host that is known: check the name, or add it to ~/.ssh/config",
    ),
    "REMOTE HOST IDENTIFICATION HAS CHANGED": (
        "got another host key from {name} than the one in known_hosts",
        "expected the same: if the device was set up anew, forget the old one with `ssh-keygen -R '{known}'`;"
        " otherwise somebody may be in between",
    ),
    "Host key verification failed": (
        "got a host key from {name} that is not known",
        "expected one in known_hosts: log in once by hand with `{by_hand}` and compare its fingerprint",
    ),
    "Permission denied": (
        "got a refused login at {name}",
        "expected a key that it accepts without a question: `ssh-copy-id` one, or add a passphrase's key to ssh-agent;"
        " `{by_hand}` must log in without asking",
    ),
    "Too many authentication failures": (
        "got a refused login at {name}, which was offered too many keys",
        "expected the right one early: set IdentityFile and IdentitiesOnly for it in ~/.ssh/config",
    ),
    "Connection refused": (
        "got no ssh server at {name}",
        "expected one: see that it runs and that the port is right",
    ),
    "timed out": (
        "got no answer from {name}",
        "expected an ssh server within " + str(CONNECT_SECONDS) + " s: see that the device is on and reachable",
    ),
    "No route to host": ("got no way to {name}", "expected it on the network: see that it is on and reachable"),
    "unreachable": ("got no way to {name}", "expected it on the network: see that it is on and reachable"),
}


class SshConnection(ShellConnection):
    """`ssh://[user@]host[:port]`; the host may be an alias of ~/.ssh/config, with its keys and jump hosts."""

    def __init__(self, name: str, config: Path | None = None):
        """`config` is used instead of the user's configuration; so is the file that TRIMFIT_SSH_CONFIG names.

        Raises DeviceUnreachableError for a name that is none.
        """
        super().__init__(name)
        self._user, self._host, self._port = _address(name)
        self._config = config or (Path(os.environ[CONFIG_VARIABLE]) if os.environ.get(CONFIG_VARIABLE) else None)
        self._sockets: tempfile.TemporaryDirectory[str] | None = None

    def argv(self, script: str) -> list[str]:
        """The ssh client; the shell of the user there only starts `sh`."""
        return [*self._ssh(), "--", self._host, f"exec sh -c {shlex.quote(script)}"]

    def prepare(self) -> None:
        """Raises DeviceUnreachableError where there is no ssh client."""
        if shutil.which("ssh") is None:
            raise DeviceUnreachableError(
                f"got no `ssh` here to reach {self.name}, expected the OpenSSH client: install openssh-client"
            )
        if self._sockets is None:
            # a short path: a socket's name may have 100 characters, and ssh's %C takes 40
            folder = "/tmp" if Path("/tmp").is_dir() else tempfile.gettempdir()
            _remove_abandoned(Path(folder))
            prefix = f"{SOCKETS}{os.getpid()}."
            self._sockets = tempfile.TemporaryDirectory(prefix=prefix, dir=folder, ignore_cleanup_errors=True)

    def hang_up(self) -> None:
        """End the connection that carried all."""
        if self._sockets is None:
            return
        with suppress(OSError, subprocess.TimeoutExpired):
            command = [*self._ssh(), "-O", "exit", "--", self._host]
            subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=HANG_UP_SECONDS)
        self._sockets.cleanup()
        self._sockets = None

    def refusal(self, stderr: str) -> DeviceUnreachableError:
        """Explains what ssh said."""
        words = {
            "name": self.name,
            "host": self._host,
            "known": f"[{self._host}]:{self._port}" if self._port else self._host,
            "by_hand": " ".join(["ssh", *self._login(), self._host]),
        }
        for said, (got, expected) in _REASONS.items():
            if said in stderr:
                return DeviceUnreachableError(f"{got.format(**words)}, {expected.format(**words)}")
        return DeviceUnreachableError(
            f"got no shell at {self.name} ({last_line(stderr) or 'ssh said nothing'}), expected one: try"
            f" `{words['by_hand']}`"
        )

    def _ssh(self) -> list[str]:
        assert self._sockets is not None, "prepare() comes first"
        options = {**_OPTIONS, "ControlPath": f"{self._sockets.name}/%C"}
        config = ["-F", str(self._config)] if self._config else []
        return ["ssh", *config, *(f"-o{key}={value}" for key, value in options.items()), *self._login()]

    def _login(self) -> list[str]:
        port = ["-p", str(self._port)] if self._port else []
        return [*port, "-l", self._user] if self._user else port


def _remove_abandoned(folder: Path) -> None:
    """Remove what processes that were killed left there."""
    for path in folder.glob(f"{SOCKETS}*"):
        owner = path.name.removeprefix(SOCKETS).partition(".")[0]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(path, ignore_errors=True)


def _address(name: str) -> tuple[str | None, str, int | None]:
    """User, host and port of ssh://[user@]host[:port]."""
    try:
        url = urlsplit(name)
        user, host, port = url.username, url.hostname, url.port
    except ValueError:
        user = host = port = None
    extra = host is not None and (url.path.strip("/") or url.query or url.fragment or url.password)
    if not host or extra or any(part and part.startswith("-") for part in (user, host)):
        raise DeviceUnreachableError(f"got device {name!r}, expected ssh://user@host or ssh://user@host:port")
    # urlsplit makes hosts lower case; an alias of ~/.ssh/config need not be
    start = name.lower().rindex(host)
    return user, name[start : start + len(host)], port
