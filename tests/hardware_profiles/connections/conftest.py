"""The three ways to reach a device."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from far_sides import Adbd, FarSide, Sshd

from hardware_profiles.connections import Connection, connect


@pytest.fixture(params=["local", "ssh", "adb"])
def connection(request: pytest.FixtureRequest) -> Iterator[Connection]:
    """Each of them, open."""
    fixture = {"ssh": "sshd", "adb": "adbd"}.get(request.param)
    name = request.getfixturevalue(fixture).name if fixture else "local"
    with connect(name) as made:
        yield made


@pytest.fixture(params=["ssh", "adb"])
def far(request: pytest.FixtureRequest) -> Sshd | Adbd:
    """A far side that things can be done to; nothing was left there."""
    side: Sshd | Adbd = request.getfixturevalue({"ssh": "sshd", "adb": "adbd"}[request.param])
    assert isinstance(side, FarSide)
    assert side.left_behind == []
    return side
