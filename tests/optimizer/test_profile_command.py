"""`trimfit profile --html` draws each runtime's own profile, and has the machine measured for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import made_setting as made
import pytest
from typer.testing import CliRunner

from optimizer import preparation
from optimizer.cli import app


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Profiles made by hand in place of measured ones; for each request, whether the machine is asked about."""
    found: list[bool] = []

    def profile_of(*_: object, machine: bool = False, **__: object) -> Any:
        found.append(machine)
        return made.profile(made.STOCK, {"fp32": 1.0, "int8": 1.0})

    monkeypatch.setattr(preparation, "profile_of", profile_of)
    monkeypatch.setattr(
        preparation, "sparse_profile_of", lambda *_, **__: made.profile(made.SPARSE, {"fp32": 0.0, "int8": 0.0})
    )
    return found


def trimfit_profile(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["profile", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


def test_the_page_has_the_runtime_that_was_asked_for(asked: list[bool], tmp_path: Path) -> None:
    pages = [tmp_path / name for name in ("stock.html", "sparse.html")]
    trimfit_profile("--html", pages[0])
    trimfit_profile("--html", pages[1], "--runtime", made.SPARSE)
    stock, sparse = (page.read_text(encoding="utf-8") for page in pages)
    line = f"Feed-forward, block, {made.SPARSE}"
    assert line not in stock
    assert line in sparse
    assert asked == [True, True]


def test_without_a_page_the_machine_is_not_asked_about(asked: list[bool], tmp_path: Path) -> None:
    assert "FFN, neurons" in trimfit_profile()
    assert asked == [False]
    assert list(tmp_path.iterdir()) == []
