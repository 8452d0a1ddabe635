"""What goes wrong far away is said in one line, leaves nothing there, and can be tried again."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import pytest
from far_sides import Adbd, Sshd, ssh_config
from test_connections import mark, running

from benchmarks.errors import DeviceFullError, DeviceLostError, DeviceUnreachableError
from hardware_profiles.connections import Completed, Connection, connect, session, transfer
from hardware_profiles.connections.shell_connection import ShellConnection
from hardware_profiles.connections.ssh import SshConnection


def nothing_left(far: Sshd | Adbd, number: int = 0, seconds: float = 5) -> bool:
    """Whether no file and no process that sleeps for `number` is there, within some seconds."""
    for _ in range(int(seconds * 10)):
        if far.left_behind == []:
            return not running(number)
        time.sleep(0.1)
    return False


def soon(do: Callable[[], None]) -> threading.Timer:
    timer = threading.Timer(0.5, do)
    timer.start()
    return timer


def test_a_link_that_is_cut_in_the_middle_of_a_command_leaves_nothing_and_can_be_made_again(far: Sshd | Adbd):
    with connect(far.name) as connection:
        with connection.folder() as folder:
            connection.run(["touch", "kept"], folder=folder)
            cutting = soon(far.cut)
            with pytest.raises(
                DeviceLostError, match=r"^got no end of `sleep 4101[.0-9]*` .*link was lost.*; see that .*$"
            ):
                connection.run(["sleep", mark(4101)], folder=folder)
        cutting.join()
        assert connection.run(["echo", "at once"]).stdout == "at once\n"
        assert not running(4101)
        assert connection.run(["echo", "again"]).stdout == "again\n"
    assert nothing_left(far)


def test_a_link_that_is_cut_while_lines_go_back_and_forth_is_told_from_their_end(far: Sshd | Adbd):
    with connect(far.name) as connection:
        with connection.start(["sh", "-c", f"cat; sleep {mark(4102)}"], seconds=600) as it:
            it.write("one")
            assert it.read(10) == "one"
            cutting = soon(far.cut)
            with pytest.raises(DeviceLostError, match="link was lost"):
                it.read(20)
            cutting.join()
            it.write("nobody is there")
        assert nothing_left(far, 4102)
        assert connection.run(["true"]).exit_code == 0


class HalfWay:
    """A connection whose link is cut when half of a file went there."""

    def __init__(self, connection: ShellConnection, cut: Callable[[], None]):
        self._connection, self._cut = connection, cut
        self.name, self.sha256_tool = connection.name, connection.sha256_tool

    def pipe(self, command: Sequence[str], *, stdin: IO[bytes], **others: Any) -> Completed:
        read, write = os.pipe()
        threading.Thread(target=self._feed, args=(stdin.read(), write), daemon=True).start()
        with os.fdopen(read, "rb") as half:
            return self._connection.pipe(command, stdin=half, **others)

    def _feed(self, content: bytes, write: int) -> None:
        with os.fdopen(write, "wb") as stream:
            stream.write(content[: len(content) // 2])
            stream.flush()
            time.sleep(0.3)
            self._cut()
            time.sleep(0.3)


def test_half_a_file_that_went_there_is_not_kept(far: Sshd | Adbd, tmp_path: Path):
    sent = tmp_path / "model.onnx"
    sent.write_bytes(os.urandom(1 << 20))
    with connect(far.name) as connection:
        with pytest.raises(DeviceLostError, match=r"got no end of the copy of model\.onnx from"):
            transfer.push(HalfWay(connection, far.cut), sent, "/tmp/model.onnx")
        assert nothing_left(far)
        with connection.folder() as folder:
            connection.push(sent, f"{folder}/model.onnx")


class HalfBack(HalfWay):
    """A connection whose link is cut when the first part of a file has come from there."""

    def pipe(self, command: Sequence[str], *, stdout: IO[bytes] | None = None, **others: Any) -> Completed:
        if stdout is not None:
            write = stdout.write
            stdout = SimpleNamespace(write=lambda part: (write(part), self._cut()), flush=stdout.flush)
        return self._connection.pipe(command, stdout=stdout, **others)


def test_half_a_file_that_came_from_there_is_not_kept(far: Sshd | Adbd, tmp_path: Path):
    with connect(far.name) as connection:
        connection.run(["sh", "-c", "head -c 50000000 /dev/zero > /tmp/zeros"])
        with pytest.raises(DeviceLostError, match=r"got no end of the copy of /tmp/zeros from"):
            transfer.pull(HalfBack(connection, far.cut), "/tmp/zeros", tmp_path / "back")
        assert list(tmp_path.iterdir()) == []
        connection.run(["rm", "/tmp/zeros"])
    assert nothing_left(far)


def test_a_disk_that_is_full_there_is_said_with_what_is_free_and_nothing_stays(far: Sshd | Adbd, tmp_path: Path):
    (tmp_path / "model.onnx").write_bytes(bytes(3_000_000))
    (tmp_path / "small").write_bytes(b"small")
    with connect(far.name) as connection:
        said = (
            r"^got a full disk on .* while copying model.onnx \(3.0 MB\), expected room for it in /mnt, 1.0 MB are free"
        )
        with pytest.raises(DeviceFullError, match=said):
            connection.push(tmp_path / "model.onnx", "/mnt/model.onnx")
        assert connection.run(["ls", "-A", "/mnt"]).stdout == ""
        connection.push(tmp_path / "small", "/mnt/small")
        connection.run(["rm", "/mnt/small"])
    assert nothing_left(far)


def test_a_device_without_timeout_is_refused(far: Sshd | Adbd):
    with connect(far.name) as connection:
        with far.without("timeout"), pytest.raises(DeviceUnreachableError, match=r"^got no `timeout` on .* coreutils"):
            connection.run(["true"])
        assert connection.run(["true"]).exit_code == 0
    assert nothing_left(far)


def test_a_device_whose_sha256_is_python_s_is_enough(far: Sshd | Adbd, tmp_path: Path):
    (tmp_path / "sent").write_bytes(b"content")
    with far.without("sha256sum"), connect(far.name) as connection, connection.folder() as folder:
        assert connection.sha256_tool == "python3"
        connection.push(tmp_path / "sent", f"{folder}/sent")
        connection.pull(f"{folder}/sent", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"content"


def test_a_shell_that_greets_is_told_to_be_silent(sshd: Sshd):
    connection = SshConnection(sshd.name, sshd.config)
    plain = connection.argv
    connection.argv = lambda script: plain(f"echo Welcome; {script}")
    with pytest.raises(
        DeviceUnreachableError, match=r"^got 'Welcome' from the shell of .*, expected silence: .*bashrc"
    ):
        connection.run(["true"])


def test_a_silent_link_is_given_up_on_both_sides(far: Sshd | Adbd, monkeypatch):
    monkeypatch.setattr(session, "BEAT_SECONDS", 0.3)
    monkeypatch.setattr(session, "PATIENCE_SECONDS", 2)
    with connect(far.name) as connection, connection.folder() as folder:
        connection.run(["true"], folder=folder)
        with far.silent():
            with pytest.raises(DeviceLostError, match="link was lost"):
                connection.run(["sleep", mark(4103)], seconds=600)
            assert nothing_left(far, 4103)
        assert again_within(10, connection)
    assert nothing_left(far)


def again_within(seconds: float, connection: Connection) -> bool:
    """Whether contact can be made again, at most so much later."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with suppress(DeviceUnreachableError):
            return connection.run(["echo", "again"]).stdout == "again\n"
        time.sleep(0.5)
    return False


def test_an_unknown_host_key_is_not_trusted(sshd: Sshd, tmp_path: Path):
    config = tmp_path / "config"
    config.write_text(ssh_config(sshd.folder / "user", tmp_path / "known_hosts"))
    said = (
        r"^got a host key from .* that is not known, expected one in known_hosts: log in once by hand with `ssh -p .*$"
    )
    with pytest.raises(DeviceUnreachableError, match=said):
        SshConnection(sshd.name, config).run(["true"])
    assert not (tmp_path / "known_hosts").exists()


def test_another_host_key_than_before_is_refused(sshd: Sshd, tmp_path: Path):
    (tmp_path / "known_hosts").write_text(f"[127.0.0.1]:{sshd.port} {(sshd.folder / 'other_host.pub').read_text()}")
    config = tmp_path / "config"
    config.write_text(ssh_config(sshd.folder / "user", tmp_path / "known_hosts"))
    said = rf"^got another host key .*, expected the same: .*ssh-keygen -R '\[127.0.0.1\]:{sshd.port}'.*$"
    with pytest.raises(DeviceUnreachableError, match=said):
        SshConnection(sshd.name, config).run(["true"])


def test_a_refused_login_is_said(sshd: Sshd, tmp_path: Path):
    config = tmp_path / "config"
    config.write_text(ssh_config(sshd.folder / "stranger", sshd.folder / "known_hosts"))
    with pytest.raises(DeviceUnreachableError, match=r"^got a refused login at .*ssh-copy-id.*$"):
        SshConnection(sshd.name, config).run(["true"])
    assert SshConnection(sshd.name, sshd.config).run(["true"]).exit_code == 0


def test_a_host_that_is_not_there_is_said(sshd: Sshd):
    with pytest.raises(DeviceUnreachableError, match=r"^got no ssh server at ssh://root@127.0.0.1:1, .*$"):
        SshConnection("ssh://root@127.0.0.1:1", sshd.config).run(["true"])
    with pytest.raises(DeviceUnreachableError, match=r"^got no address for nowhere.invalid, .*$"):
        SshConnection("ssh://nowhere.invalid", sshd.config).run(["true"])


def test_an_alias_of_the_user_s_own_configuration_is_a_host(sshd: Sshd, tmp_path: Path):
    config = tmp_path / "config"
    alias = f"Host MyBoard\n  HostName 127.0.0.1\n  Port {sshd.port}\n  User root\n"
    config.write_text(alias + ssh_config(sshd.folder / "user", sshd.folder / "known_hosts"))
    with SshConnection("ssh://MyBoard", config) as connection:
        assert connection.run(["echo", "here"]).stdout == "here\n"


def test_a_phone_that_is_not_there_is_said(adbd: Adbd):
    with pytest.raises(
        DeviceUnreachableError, match=r"^got no device nowhere, expected a device that adb can reach: .*$"
    ):
        connect("adb://nowhere").run(["true"])
    with pytest.raises(DeviceUnreachableError, match=r"^got no device 10.77.0.2:1, .*refused.*$"):
        connect("adb://10.77.0.2:1").run(["true"])


def test_without_the_client_its_package_is_named(monkeypatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    for name, package in (("ssh://host", "openssh-client"), ("adb://serial", "install adb")):
        with pytest.raises(DeviceUnreachableError, match=package):
            connect(name).run(["true"])
