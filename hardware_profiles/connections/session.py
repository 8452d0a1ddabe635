"""Session: the shell on the far side that removes our folder there, and ends all we started, when we are gone."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Callable

from benchmarks.errors import DeviceFullError, DeviceLostError, DeviceTimeoutError, DeviceUnreachableError
from hardware_profiles.connections.running_process import Command, RunningProcess

__all__ = ["END_COMMAND", "Session", "keeper_script"]

BEAT_SECONDS = 15.0
PATIENCE_SECONDS = 60  # either side gives up a link that is silent for so long
CONTACT_SECONDS = 30.0
CLEANUP_SECONDS = 15.0

# POSIX shell; its tools are those of coreutils, busybox or toybox. Ends all processes whose environment holds
# TRIMFIT_COMMAND=$1..., first politely: also what a command left in the background or in a group of its own.
END_COMMAND = """
marked() {
    if printf 'a\\000b\\000' | grep -Fq b; then
        grep -Fls "TRIMFIT_COMMAND=$1" /proc/[0-9]*/environ 2>/dev/null
    else # busybox: its lines end where C's strings do
        for file in /proc/[0-9]*/environ; do
            [ -r "$file" ] && tr '\\000' '\\n' 2>/dev/null <"$file" | grep -Fq "TRIMFIT_COMMAND=$1" && echo "$file"
        done
    fi
}
end_commands() {
    signal=TERM
    for pause in 0.1 0.4 0.5 1 1 1 1 0.1 1; do
        some=
        for process in $(marked "$1"); do
            process=${process#/proc/}
            kill -$signal "${process%/environ}" 2>/dev/null && some=yes
        done
        [ "$some" ] || return 0
        sleep $pause 2>/dev/null || sleep 1
        [ $pause = 0.1 ] || [ $pause = 0.4 ] || [ $pause = 0.5 ] || signal=KILL
    done
}
"""

_KEEPER = """
umask 077
for tool in timeout head mktemp grep; do
    command -v $tool >/dev/null 2>&1 || { echo "trimfit-missing|$tool"; exit; }
done
timeout -k 5 5 true || { echo "trimfit-missing|timeout with -k"; exit; }
sha256=none
for tool in sha256sum 'toybox sha256sum' 'busybox sha256sum'; do
    $tool </dev/null >/dev/null 2>&1 && { sha256=$tool; break; }
done
[ "$sha256" = none ] && python3 -c 'import hashlib' 2>/dev/null && sha256=python3
[ "$sha256" = none ] && { echo "trimfit-missing|sha256sum"; exit; }
for root in "$TMPDIR" /data/local/tmp /tmp; do
    [ -n "$root" ] && [ -d "$root" ] && [ -w "$root" ] && break
done
# what sessions left that could not remove it themselves: a device that lost power, a keeper that was killed; not what
# another machine or container made that shares this folder, whose processes are not seen from here
here="$(uname -n) $(readlink /proc/self/ns/pid 2>/dev/null)"
for old in "$root"/trimfit.[0-9]*.??????*; do
    { [ -d "$old" ] && [ ! -L "$old" ] && [ -O "$old" ]; } || continue
    [ "$(cat "$old/where" 2>/dev/null)" = "$here" ] || continue
    keeper=${old#"$root"/trimfit.}
    keeper=${keeper%%.*}
    [ "$old" != "$lost" ] && grep -qs trimfit "/proc/$keeper/cmdline" && continue
    mv "$old" "${old%.ended}.ended" 2>/dev/null
    end_commands "${old%.ended}/"
    rm -rf "${old%.ended}.ended"
done
folder=$(LC_ALL=C mktemp -d "$root/trimfit.$$.XXXXXX" 2>&1) || { echo "trimfit-refused|$folder"; exit; }
trap 'mv "$folder" "$folder.ended"; end_commands "$folder/"; rm -rf "$folder.ended"' EXIT
trap exit HUP INT TERM PIPE
why=$({ echo "$here" >"$folder/where"; } 2>&1) || { echo "trimfit-refused|No space left: $why"; exit; }
echo "trimfit-ready|$sha256|$folder"
while beat=$(timeout $patience head -c 2 2>/dev/null) && [ "$beat" = . ]; do echo .; done
"""


def keeper_script(lost: str = "") -> str:
    """What runs on the far side for as long as the connection: reads a beat from time to time, or cleans up and ends.

    `lost` is the folder of a session of ours whose link was lost; its shell there may not know of it yet.
    """
    return f"lost={shlex.quote(lost)}\npatience={PATIENCE_SECONDS}\n{END_COMMAND}{_KEEPER}"


class Session:
    """Made by contact; `lost` is called from a thread of its own when the link turns out to be gone."""

    def __init__(self, argv: list[str], device: str, refusal: Callable[[str], DeviceUnreachableError]):
        """Make contact by running the keeper's script with `argv`.

        `refusal` explains what the client wrote to stderr when no contact was made.
        """
        self._device = device
        self._lost = False
        self._keeper = RunningProcess(argv, Command("the session", device, float("inf")), lambda: None)
        try:
            self.sha256, self.folder = self._hello(refusal)
        except BaseException:
            self._keeper.kill()
            self._keeper.close()
            raise
        self._closing = threading.Event()

    @property
    def alive(self) -> bool:
        """Whether the link holds, as far as is known."""
        return not self._lost and not self._keeper.has_ended

    def drop(self) -> None:
        """Take the link for lost: something else that went through it was."""
        self._lost = True
        self._keeper.kill()

    def watch(self, lost: Callable[[], None]) -> None:
        """Send beats from now on; `lost` is called when they are not answered."""
        threading.Thread(target=self._beat, args=(lost,), daemon=True).start()

    def close(self) -> None:
        """Let the far side clean up, and wait until it has."""
        self._closing.set()
        self._keeper.close(CLEANUP_SECONDS)

    def _hello(self, refusal: Callable[[str], DeviceUnreachableError]) -> tuple[str, str]:
        try:
            line = self._keeper.read(CONTACT_SECONDS)
        except DeviceLostError:
            raise refusal(self._keeper.stderr_tail) from None
        except DeviceTimeoutError as error:
            raise DeviceUnreachableError(
                f"got no answer from {self._device} within {CONTACT_SECONDS:g} s, expected a shell there: see that the"
                " device is on and reachable"
            ) from error
        kind, _, rest = (line or "").partition("|")
        if kind == "trimfit-ready":
            sha256, _, folder = rest.partition("|")
            return sha256, folder
        raise self._unfit(kind, rest, line)

    def _unfit(self, kind: str, rest: str, line: str | None) -> DeviceUnreachableError:
        if kind == "trimfit-missing":
            return DeviceUnreachableError(
                f"got no `{rest.split()[0]}` on {self._device}{' that knows -k' if '-k' in rest else ''}, expected one,"
                " without which nothing is started there: install coreutils (or busybox 1.30 or later)"
            )
        if kind == "trimfit-refused":
            full = "No space left" in rest or "quota" in rest
            return (DeviceFullError if full else DeviceUnreachableError)(
                f"got no working folder on {self._device} ({rest}), expected one: free some space there, or set TMPDIR"
                " there to a folder with room"
            )
        return DeviceUnreachableError(
            f"got {line!r} from the shell of {self._device} before any command, expected silence: let its start-up"
            " files there (~/.bashrc) print only where somebody reads it"
        )

    def _beat(self, lost: Callable[[], None]) -> None:
        while not self._closing.wait(BEAT_SECONDS):
            self._keeper.write(".")
            try:
                if self._keeper.read(PATIENCE_SECONDS) is not None:
                    continue
            except DeviceUnreachableError:
                pass
            if not self._closing.is_set():
                self.drop()
                lost()
            return
