"""What tests of profiles share."""

from __future__ import annotations

import pytest

from hardware_profiles import bench


@pytest.fixture(autouse=True)
def room(monkeypatch):
    """Whatever else this machine does, nothing is timed again for it."""
    monkeypatch.setattr(bench, "is_crowded", lambda others, threads: False)
