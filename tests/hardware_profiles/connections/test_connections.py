"""Every connection keeps the same promises: this machine's, one to a real sshd, one to a real adbd."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from benchmarks.errors import DeviceFullError, DeviceLostError, DeviceTimeoutError, DeviceUnreachableError, TrimfitError
from hardware_profiles.connections import Connection, connect


def mark(number: int) -> str:
    """Seconds to sleep that no other test run on this machine sleeps."""
    return f"{number}.{os.getpid()}"


def running(number: int) -> bool:
    """Whether something still sleeps for so long after two seconds."""
    for _ in range(20):
        lines = [" ".join(p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"])]
        if not any(f"sleep {mark(number)}" in line for line in lines):
            return False
        time.sleep(0.1)
    return True


def gone(connection: Connection, path: str) -> bool:
    """Whether there is no such path any more, within two seconds."""
    for _ in range(20):
        if connection.run(["ls", path]).exit_code:
            return True
        time.sleep(0.1)
    return False


def test_a_command_gives_its_output_its_errors_and_its_exit_code_apart(connection: Connection):
    done = connection.run(["sh", "-c", "echo out; echo err >&2; exit 7"])
    assert done == (7, "out\n", "err\n")


@pytest.mark.parametrize("code", [1, 124, 137, 255])
def test_exit_codes_that_clients_use_for_themselves_are_results(connection: Connection, code: int):
    assert connection.run(["sh", "-c", f"exit {code}"]).exit_code == code


def test_no_shell_looks_at_arguments(connection: Connection):
    arguments = ["a b", "$HOME", "it's", '"', "*", ";", "", "\\", "line\nbreak", "!x", "\u00e9"]
    assert connection.run(["printf", "%s|", *arguments]).stdout == "|".join(arguments) + "|"


def test_a_program_that_is_not_there_is_a_result(connection: Connection):
    assert connection.run(["no-such-program"]).exit_code == 127


def test_stdin_reaches_the_command_as_it_is(connection: Connection):
    sent = bytes(range(256)) * 400
    assert connection.run(["wc", "-c"], stdin=sent).stdout.strip() == str(len(sent))
    assert connection.run(["wc", "-c"]).stdout.strip() == "0"


def test_folder_and_environment_are_those_asked_for(connection: Connection):
    with connection.folder() as folder:
        done = connection.run(["sh", "-c", 'pwd; echo "$WHO"'], folder=folder, env={"WHO": 'it\'s "me"'})
    assert done.stdout == f'{folder}\nit\'s "me"\n'
    with pytest.raises(ValueError, match="A B"):
        connection.run(["true"], env={"A B": ""})


def test_a_command_that_outlives_its_limit_is_ended_there(connection: Connection):
    with pytest.raises(
        DeviceTimeoutError, match=r"^got no end of `sleep 4011[.0-9]*` on .* within 1 s, expected one: .*$"
    ):
        connection.run(["sleep", mark(4011)], seconds=1)
    assert not running(4011)
    assert connection.run(["true"]).exit_code == 0


def test_what_ignores_the_polite_signal_is_killed(connection: Connection):
    with pytest.raises(DeviceTimeoutError):
        connection.run(["sh", "-c", f"trap '' TERM; sleep {mark(4012)}; sleep {mark(4012)}"], seconds=1)
    assert not running(4012)


def test_lines_go_there_and_back(connection: Connection):
    with connection.start(
        ["sh", "-c", 'while read -r x; do echo "<$x>"; done; echo bye >&2; exit 3'], seconds=30
    ) as it:
        for word in ("one", "two words", "\u00e9"):
            it.write(word)
            assert it.read(10) == f"<{word}>"
        assert it.exit_code is None
        it.close(10)  # a busy machine may need more than the second that it is given otherwise
    assert (it.exit_code, it.stderr_tail) == (3, "bye\n")
    it.close()


def test_the_end_of_lines_is_none_as_often_as_it_is_asked_for(connection: Connection):
    with connection.start(["sh", "-c", "echo one; exit 4"], seconds=30) as it:
        assert [it.read(10) for _ in range(3)] == ["one", None, None]
        assert it.exit_code == 4
        it.write("nobody reads this")


def test_silence_is_told_from_the_end(connection: Connection):
    with connection.start(["sleep", mark(4013)], seconds=30) as it, pytest.raises(DeviceTimeoutError, match="no line"):
        it.read(0.1)
    assert not running(4013)


def test_a_started_command_has_its_limit_there(connection: Connection):
    with (
        connection.start(["sleep", mark(4014)], seconds=1) as it,
        pytest.raises(DeviceTimeoutError, match="within 1 s"),
    ):
        it.read(20)
    assert not running(4014)


def test_closing_ends_what_does_not_end_by_itself_and_what_that_left_in_the_background(connection: Connection):
    with connection.start(["sh", "-c", f"setsid sleep {mark(4015)} & echo up; sleep {mark(4015)}"], seconds=600) as it:
        assert it.read(10) == "up"
    assert not running(4015)


def test_files_arrive_as_they_were_and_come_back_so(connection: Connection, tmp_path: Path):
    sent = tmp_path / "a file's name"
    sent.write_bytes(os.urandom(3_000_001))
    with connection.folder() as folder:
        connection.push(sent, f"{folder}/it's there")
        connection.push(sent, f"{folder}/it's there")
        assert connection.run(["ls", "-A", folder]).stdout == "it's there\n"
        connection.pull(f"{folder}/it's there", tmp_path / "deeper" / "back")
    assert (tmp_path / "deeper" / "back").read_bytes() == sent.read_bytes()
    assert [p.name for p in (tmp_path / "deeper").iterdir()] == ["back"]


def test_an_empty_file_is_a_file(connection: Connection, tmp_path: Path):
    (tmp_path / "empty").touch()
    with connection.folder() as folder:
        connection.push(tmp_path / "empty", f"{folder}/empty")
        connection.pull(f"{folder}/empty", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b""


def test_files_that_are_not_there_are_named(connection: Connection, tmp_path: Path):
    (tmp_path / "some").touch()
    with connection.folder() as folder:
        with pytest.raises(TrimfitError, match="no such file"):
            connection.push(tmp_path / "none", f"{folder}/none")
        with pytest.raises(TrimfitError, match=f"got no file {folder}/none"):
            connection.pull(f"{folder}/none", tmp_path / "none")
        with pytest.raises(TrimfitError, match="got the folder"):
            connection.push(tmp_path / "some", folder)
        with pytest.raises(DeviceUnreachableError, match="see that its folder is there"):
            connection.push(tmp_path / "some", f"{folder}/no/such/folder")
        assert connection.run(["ls", "-A", folder]).stdout == ""
    assert not (tmp_path / "none").exists()


def test_a_copy_that_changed_on_its_way_is_refused(connection: Connection, tmp_path: Path, monkeypatch):
    sent = tmp_path / "sent"
    sent.write_bytes(b"whole")
    with connection.folder() as folder:
        connection.push(sent, f"{folder}/sent")
        monkeypatch.setattr("hardware_profiles.connections.transfer._sha256", lambda path: "0" * 64)
        with pytest.raises(DeviceLostError, match="sha256"):
            connection.push(sent, f"{folder}/again")
        with pytest.raises(DeviceLostError, match="sha256"):
            connection.pull(f"{folder}/sent", tmp_path / "back")
        assert connection.run(["ls", "-A", folder]).stdout == "sent\n"
    assert [p.name for p in tmp_path.iterdir()] == ["sent"]


def test_a_disk_that_is_full_here_is_said(connection: Connection, tmp_path: Path, monkeypatch):
    with connection.folder() as folder:
        connection.run(["sh", "-c", "head -c 100000 /dev/zero > zeros"], folder=folder)
        full = os.open("/dev/full", os.O_WRONLY)
        monkeypatch.setattr(tempfile, "mkstemp", lambda **_: (full, str(tmp_path / "part")))
        with pytest.raises(
            DeviceFullError, match=r"^got a full disk here while .* expected room .*: free some$"
        ) as told:
            connection.pull(f"{folder}/zeros", tmp_path / "zeros")
        assert told.value.__cause__.errno == errno.ENOSPC
    assert not (tmp_path / "zeros").exists()


def test_a_folder_is_new_empty_and_gone_afterwards(connection: Connection):
    with suppress(ZeroDivisionError), connection.folder() as other, connection.folder() as folder:
        assert folder != other
        assert connection.run(["ls", "-A", folder]).stdout == ""
        connection.run(["sh", "-c", "mkdir -p a/b; echo x > a/b/c"], folder=folder)
        raise ZeroDivisionError
    assert connection.run(["ls", folder]).exit_code != 0
    assert connection.run(["ls", other]).exit_code != 0


def test_a_command_in_a_folder_that_is_gone_is_refused(connection: Connection):
    with connection.folder() as folder:
        pass
    with pytest.raises(DeviceLostError, match=rf"got no folder {folder} on .*, expected .*: .*make a new one"):
        connection.run(["pwd"], folder=folder)


def test_closing_ends_all_that_runs_and_may_be_repeated(connection: Connection):
    it = connection.start(["sleep", mark(4016)], seconds=600)
    connection.close()
    assert not running(4016)
    it.close()
    connection.close()
    assert connection.run(["echo", "again"]).stdout == "again\n"


def test_an_interrupt_here_ends_the_command_there(connection: Connection):
    connection.run(["true"])
    threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        connection.run(["sleep", mark(4018)], seconds=600)
    assert not running(4018)


ABANDONED = """
import sys
from hardware_profiles.connections import connect
connection = connect(sys.argv[1])
with connection.folder() as folder:
    running = connection.start(["sleep", sys.argv[2]], seconds=600, folder=folder)
    print(folder, flush=True)
    running.read(600)
"""


def test_when_this_process_is_killed_nothing_stays_there(connection: Connection):
    abandon = [sys.executable, "-c", ABANDONED, connection.name, mark(4019)]
    owner = subprocess.Popen(abandon, stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    with owner.stdout:
        folder = owner.stdout.readline().strip()
    assert connection.run(["ls", folder]).exit_code == 0
    owner.kill()
    owner.wait()
    assert not running(4019)
    assert gone(connection, folder.rpartition("/")[0])


def test_what_a_killed_session_left_is_removed_by_the_next(connection: Connection):
    with connection.folder() as folder:
        session = folder.rpartition("/")[0]
        keeper = session.split(".")[1]
        it = connection.start(["sleep", mark(4017)], seconds=600)
        connection.run(["kill", "-KILL", keeper])
        with connect(connection.name) as another:
            assert another.run(["ls", session]).exit_code != 0
    assert not running(4017)
    it.close()


@pytest.mark.parametrize(
    "name", ["pi@host", "http://host", "ssh://", "ssh://-oProxyCommand=x", "ssh://h/x", "adb://", "adb://-x"]
)
def test_a_name_that_is_no_device_is_refused_before_contact(name: str):
    with pytest.raises(DeviceUnreachableError, match=r"^got device .*, expected .*$"):
        connect(name)


def test_a_line_that_the_link_broke_within_is_no_line(connection: Connection):
    with connection.start(["printf", 'whole\n{"half'], seconds=20) as process:
        assert process.read(10) == "whole"
        assert process.read(10) is None


def test_only_folders_that_sessions_left_on_this_machine_are_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with connect("local") as connection, connection.folder() as folder:
        session = Path(folder).parent
        where = (session / "where").read_text()
    assert not session.exists()
    ours, others, mine, backup = (
        tmp_path / name
        for name in ("trimfit.999999.aBcDeF", "trimfit.999998.aBcDeF", "trimfit.999997.aBcDeF", "trimfit.backup")
    )
    for path in (ours, others, mine, backup):
        path.mkdir()
    (ours / "where").write_text(where)
    (others / "where").write_text("another-host pid:[1]\n")
    with connect("local") as connection:
        connection.run(["true"])
    assert sorted(tmp_path.iterdir()) == sorted([others, mine, backup])
