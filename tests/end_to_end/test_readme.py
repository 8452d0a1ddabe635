"""Every example of the README is run."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import optimizer
from optimizer.effort import Effort

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_python_example_runs(
    encoder: Path, data: Path, cache: Path, tiny_effort: Effort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With less effort than the default's, so that it takes a minute."""
    monkeypatch.setenv("TRIMFIT_CACHE", str(cache))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(optimizer.optimize.__kwdefaults__, "effort", tiny_effort)
    monkeypatch.setitem(optimizer.optimize.__kwdefaults__, "seq_len", 32)
    monkeypatch.setitem(optimizer.optimize.__kwdefaults__, "threads", 1)
    (example,) = blocks("python")
    names: dict = {}
    exec(example.replace("path/to/model", str(encoder)).replace("path/to/data", str(data)), names)
    assert names["deployment"].manifest.speedup.median > 1
    assert names["model"].config.num_labels == 2


@pytest.mark.parametrize(
    "line", [line for block in blocks("bash") for line in block.splitlines() if line.startswith("trimfit")]
)
def test_every_command_has_the_options_it_is_shown_with(line: str) -> None:
    _, command, *arguments = shlex.split(line, comments=True)
    shown = {argument for argument in arguments if argument.startswith("--")}
    help_text = subprocess.run(
        [sys.executable, "-c", "from optimizer.cli import main; main()", command, "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    assert all(option in help_text for option in shown)


@pytest.mark.parametrize("script", re.findall(r"^bash (\S+)$", README, flags=re.MULTILINE))
def test_every_script_is_there_and_parses(script: str) -> None:
    assert subprocess.run(["bash", "-n", script], cwd=Path(__file__).parents[2], check=False).returncode == 0
