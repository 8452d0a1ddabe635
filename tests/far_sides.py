"""Real servers for connections: an ssh daemon and an adb daemon, in namespaces of their own: the machine stays clean.

The far side sees this machine's files, but has an empty /tmp and a /mnt of 1 MB of its own.
"""

from __future__ import annotations

import os
import platform
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from hardware_profiles.profile_cache import cache_folder

ROOT = Path(__file__).parents[1]
ADB_ADDRESS = "10.77.0.2:5555"
_OWN_FOLDERS = "mount -t tmpfs -o size=1g tmpfs /tmp && chmod 1777 /tmp && mount -t tmpfs -o size=1m tmpfs /mnt"


class FarSide:
    """A daemon that runs, its name as a device, and what one can do to it. `pid` is of its namespaces."""

    def __init__(self, name: str, pid: int):
        self.name = name
        self.pid = pid

    def inside(self, *command: str) -> str:
        """Run a command in the daemon's namespaces and give its output."""
        enter = ["nsenter", "-t", str(self.pid), "-m", "-n", "--"]
        return subprocess.run([*enter, *command], check=True, capture_output=True, text=True, timeout=30).stdout

    @property
    def left_behind(self) -> list[str]:
        """What lies in the folders that it has of its own."""
        return sorted(p.name for p in (*self._files("tmp"), *self._files("mnt")))

    @contextmanager
    def without(self, program: str) -> Iterator[None]:
        """As if the device had no such program."""
        path = shutil.which(program)
        assert path is not None
        self.inside("sh", "-c", f"echo >/tmp/nothing && mount --bind /tmp/nothing {path}")
        try:
            yield
        finally:
            self.inside("sh", "-c", f"umount {path} && rm /tmp/nothing")

    def cut(self) -> None:
        """Break the link as it is: what serves it dies at once, what it started does not."""
        raise NotImplementedError

    def silent(self) -> AbstractContextManager[None]:
        """Nothing comes through the link any more, and nobody is told."""
        raise NotImplementedError

    def _files(self, folder: str) -> Iterator[Path]:
        return Path(f"/proc/{self.pid}/root/{folder}").iterdir()


class Sshd(FarSide):
    """Listens on 127.0.0.1; `config` is the ssh configuration that knows its key and has one it accepts."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, folder: Path):
        super().__init__(f"ssh://root@127.0.0.1:{port}", process.pid)
        self.port = port
        self.folder = folder
        self.config = folder / "config"

    def cut(self) -> None:
        """Kill the daemon's processes of all logins; the one that listens goes on."""
        self._signal(signal.SIGKILL)

    @contextmanager
    def silent(self) -> Iterator[None]:
        """The daemon's processes of all logins stand still."""
        self._signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        for child in psutil.Process(self.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if child.name().startswith("sshd"):
                    child.send_signal(number)


class Adbd(FarSide):
    """Reached over a pair of virtual network cards, through an adb server of its own."""

    def __init__(self, pid: int, process: subprocess.Popen[bytes], restart: Callable[[], subprocess.Popen[bytes]]):
        super().__init__(f"adb://{ADB_ADDRESS}", pid)
        self.process = process
        self._restart = restart

    def cut(self) -> None:
        """Kill the daemon, and start it anew: a plug pulled and put back."""
        self.process.kill()
        self.process.wait()
        self.process = self._restart()

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Packets vanish, and nobody is told."""
        self.inside("ip", "link", "set", "there", "down")
        try:
            yield
        finally:
            self.inside("ip", "link", "set", "there", "up")


@contextmanager
def real_sshd(folder: Path) -> Iterator[Sshd]:
    """A daemon with keys of its own for everything; skips where there is none to be had."""
    programs = _fetched("sshd")
    for key in ("host", "other_host", "user", "stranger"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
    port = _free_port()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    (folder / "config").write_text(ssh_config(folder / "user", folder / "known_hosts"))
    # a shell that reads no files of this machine's owner
    users = "root:x:0:0:root:/root:/bin/sh\nsshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\n"
    others = [line for line in Path("/etc/passwd").read_text().splitlines() if not line.startswith(("root:", "sshd:"))]
    (folder / "passwd").write_text(users + "\n".join(others) + "\n")
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey /run/far/host\nAuthorizedKeysFile /run/far/user.pub\n"
        "PermitRootLogin yes\nPasswordAuthentication no\nUsePAM no\nStrictModes no\nPidFile none\nPrintMotd no\n"
        f'SetEnv "PATH={os.environ["PATH"]}"\n'
    )
    script = (
        "set -e; mount -t tmpfs tmpfs /run; mkdir -m 755 /run/sshd /run/far\n"
        f"cp -r {programs}/bin {programs}/lib {folder}/* /run/far\n"
        f"mount --bind /run/far/passwd /etc/passwd; {_OWN_FOLDERS}\n"
        "export LD_LIBRARY_PATH=/run/far/lib\nexec /run/far/bin/sshd -D -e -f /run/far/sshd_config"
    )
    with (folder / "sshd.log").open("wb") as log:
        process = subprocess.Popen(["unshare", "-m", "sh", "-c", script], stdout=log, stderr=log)
    far = Sshd(process, port, folder)
    try:
        _wait_for(lambda: _listens(port), process, folder / "sshd.log")
        yield far
    finally:
        _end_all_in(process.pid, "mnt")
        process.wait()


@contextmanager
def real_adbd(folder: Path) -> Iterator[Adbd]:
    """A daemon and an `adb` first in PATH that reaches no other; skips where there is none to be had."""
    programs = _fetched("adbd")
    (folder / "path").mkdir()
    for name in ("bin", "lib"):
        shutil.copytree(programs / name, folder / name, symlinks=True)
    script = (
        "set -e; mount -t tmpfs tmpfs /run; mkdir /run/far\n"
        f"cp -r {folder}/bin {folder}/lib /run/far; {_OWN_FOLDERS}\n"
        "export LD_LIBRARY_PATH=/run/far/lib; exec /run/far/bin/adbd"
    )
    log = (folder / "adbd.log").open("wb")
    here = subprocess.Popen(["unshare", "-n", "sleep", "infinity"])
    process = subprocess.Popen(["unshare", "-n", "-m", "sh", "-c", script], stdout=log, stderr=log)
    # the namespaces outlive the daemon that was made with them
    holder = subprocess.Popen(_entered(process.pid, here.pid, "sleep", "infinity"))

    def restart() -> subprocess.Popen[bytes]:
        command = ["sh", "-c", "export LD_LIBRARY_PATH=/run/far/lib; exec /run/far/bin/adbd"]
        again = subprocess.Popen(["nsenter", "-t", str(holder.pid), "-m", "-n", "--", *command], stdout=log, stderr=log)
        _wait_for(lambda: _adbd_listens(again.pid), again, folder / "adbd.log")
        return again

    wrapper = folder / "path" / "adb"
    environment = f"HOME={folder} TMPDIR={folder} LD_LIBRARY_PATH={folder}/lib ADB_LOCAL_TRANSPORT_MAX_PORT=0"
    enter = f"nsenter --net=/proc/{here.pid}/ns/net env {environment}"
    wrapper.write_text(f'#!/bin/sh\nexec {enter} {folder}/bin/adb "$@"\n')
    wrapper.chmod(0o755)
    far = Adbd(holder.pid, process, restart)
    path = os.environ["PATH"]
    try:
        _join(here.pid, process.pid)
        _wait_for(lambda: _adbd_listens(process.pid), process, folder / "adbd.log")
        os.environ["PATH"] = f"{wrapper.parent}{os.pathsep}{path}"
        yield far
    finally:
        os.environ["PATH"] = path
        _end_all_in(here.pid, "net")
        _end_all_in(holder.pid, "net")
        for started in (far.process, process, holder, here):
            started.wait()
        log.close()


def ssh_config(key: Path, known_hosts: Path) -> str:
    """An ssh configuration with that key and those hosts alone."""
    return (
        f"Host *\n  IdentityFile {key}\n  IdentitiesOnly yes\n  IdentityAgent none\n"
        f"  UserKnownHostsFile {known_hosts}\n  GlobalKnownHostsFile /dev/null\n"
    )


def _fetched(name: str) -> Path:
    """Folder of the programs that .ci/NAME fetches; fetched once and kept."""
    if platform.system() != "Linux":
        pytest.skip(f"a real {name} needs Linux")
    if os.geteuid() or subprocess.run(["unshare", "-n", "-m", "true"], capture_output=True).returncode:
        pytest.skip(f"a real {name} needs root and namespaces (unshare), to leave this machine as it is")
    folder = cache_folder().with_name(name)
    try:
        subprocess.run(["bash", ROOT / ".ci" / name, folder], check=True, capture_output=True, text=True, timeout=120)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"{name} cannot be fetched: {' '.join(error.stderr.split()[-40:])}")
    except subprocess.TimeoutExpired:
        pytest.skip(f"{name} cannot be fetched within 2 minutes")
    return folder


def _entered(pid: int, other_than: int, *command: str) -> list[str]:
    """`command` in the namespaces of `pid`, once they are its own."""
    ours = os.stat(f"/proc/{other_than}/ns/mnt").st_ino
    _wait_for(lambda: os.stat(f"/proc/{pid}/ns/mnt").st_ino != ours)
    return ["nsenter", "-t", str(pid), "-m", "-n", "--", *command]


def _join(here: int, there: int) -> None:
    """A virtual cable between two network namespaces."""
    _wait_for(lambda: os.stat(f"/proc/{here}/ns/net").st_ino != os.stat("/proc/self/ns/net").st_ino)
    for pid, commands in {
        here: (
            "ip link set lo up",
            f"ip link add here type veth peer name there netns {there}",
            "ip address add 10.77.0.1/24 dev here",
            "ip link set here up",
        ),
        there: ("ip link set lo up", "ip address add 10.77.0.2/24 dev there", "ip link set there up"),
    }.items():
        for command in commands:
            subprocess.run(["nsenter", "-t", str(pid), "-n", "--", *command.split()], check=True, timeout=20)


def _end_all_in(pid: int, kind: str) -> None:
    """Kill whatever is in the namespace that was made for `pid`: the adb server, what a test that failed left."""
    try:
        namespace = os.stat(f"/proc/{pid}/ns/{kind}").st_ino
    except OSError:
        return  # it is gone already
    if namespace == os.stat(f"/proc/self/ns/{kind}").st_ino:
        return
    for process in psutil.process_iter():
        with suppress(OSError, psutil.NoSuchProcess):
            if os.stat(f"/proc/{process.pid}/ns/{kind}").st_ino == namespace:
                process.kill()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def _adbd_listens(pid: int) -> bool:
    """5555 is 15B3; 0A is what the kernel calls listening."""
    tables = [Path(f"/proc/{pid}/net/{table}") for table in ("tcp", "tcp6")]
    return any(":15B3 " in line and " 0A " in line for t in tables if t.exists() for line in t.read_text().splitlines())


def _wait_for(
    true: Callable[[], bool], process: subprocess.Popen[bytes] | None = None, log: Path = Path(os.devnull)
) -> None:
    for _ in range(200):
        if true():
            return
        assert process is None or process.poll() is None, log.read_text()
        time.sleep(0.05)
    raise AssertionError(f"nothing came: {log.read_text()}")
