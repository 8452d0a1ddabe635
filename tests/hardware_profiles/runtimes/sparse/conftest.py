"""The operators' libraries, current with their sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from hardware_profiles.runtimes.sparse.build import TARGETS, build


@pytest.fixture(scope="session", autouse=True)
def _libraries() -> None:
    for target in TARGETS:
        build(target)


@pytest.fixture(scope="session")
def sanitized() -> Path:
    """The library that stops the process, with a report, where the C standard says that anything may happen."""
    return build("x86_64-linux", sanitize=True)
