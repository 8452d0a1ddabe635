"""AdbConnection: a phone or a board with Android's debug bridge, through the `adb` command."""

from __future__ import annotations

import re
import shutil
import subprocess

from benchmarks.errors import DeviceUnreachableError
from hardware_profiles.connections.running_process import last_line
from hardware_profiles.connections.shell_connection import ShellConnection

__all__ = ["AdbConnection"]

ANSWER_SECONDS = 20.0
_NETWORK_SERIAL = re.compile(r"[\w.\[\]:-]+:\d+")


class AdbConnection(ShellConnection):
    """`adb://SERIAL`, as `adb devices` lists it; adb://HOST:PORT is connected to first, unless it is already."""

    def __init__(self, name: str):
        """Raises DeviceUnreachableError for a name that is none."""
        super().__init__(name)
        self._serial = name.removeprefix("adb://")
        if not self._serial or self._serial.startswith("-") or not name.startswith("adb://"):
            raise DeviceUnreachableError(f"got device {name!r}, expected adb://SERIAL: `adb devices` lists the serials")

    def argv(self, script: str) -> list[str]:
        """`adb shell` without a terminal, so that bytes stay what they are."""
        return ["adb", "-s", self._serial, "shell", "-T", script]

    def prepare(self) -> None:
        """Connect a device of the network; see that it is there and that its shell tells exit codes."""
        if shutil.which("adb") is None:
            raise DeviceUnreachableError(
                f"got no `adb` here to reach {self.name}, expected Android's platform tools: install adb"
            )
        state, said = self._adb("get-state")
        if state.strip() != "device" and _NETWORK_SERIAL.fullmatch(self._serial):
            if "offline" in state + said:
                self._adb("disconnect", self._serial, of_device=False)
            complaint = "".join(self._adb("connect", self._serial, of_device=False))
            state, said = self._adb("get-state")
            said = f"{said}\n{complaint}"
        if state.strip() != "device":
            raise self.refusal(said or state)
        if "shell_v2" not in self._adb("features")[0].split():
            raise DeviceUnreachableError(
                f"got an adb daemon on {self.name} that tells no exit codes, expected shell_v2: Android 7 or later"
            )

    def refusal(self, stderr: str) -> DeviceUnreachableError:
        """Explains what adb said."""
        if "unauthorized" in stderr:
            got, todo = f"a refused login at {self.name}", "accept this computer's key on the device's screen"
        elif "offline" in stderr:
            got, todo = f"{self.name} offline", "plug it in again, or restart its debugging"
        elif "not found" in stderr or "no devices" in stderr:
            got = f"no device {self._serial}"
            todo = "see `adb devices`, and that USB debugging is on" + (
                f"; {last_line(stderr)}" if "connect" in last_line(stderr) else ""
            )
        else:
            got, todo = f"no shell at {self.name} ({last_line(stderr) or 'adb said nothing'})", "see `adb devices`"
        return DeviceUnreachableError(f"got {got}, expected a device that adb can reach: {todo}")

    def _adb(self, *arguments: str, of_device: bool = True) -> tuple[str, str]:
        """What adb wrote to stdout and stderr; as stderr alone, why it did not answer."""
        command = ["adb", *(["-s", self._serial] if of_device else []), *arguments]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=ANSWER_SECONDS,
            )
        except subprocess.TimeoutExpired:
            return "", f"`adb {arguments[0]}` did not answer within {ANSWER_SECONDS:g} s"
        return done.stdout, done.stderr
