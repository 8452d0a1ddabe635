"""This machine behind a connection: everything goes through a shell, as to another one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from onnx import TensorProto, helper, save

from hardware_profiles.connections.local import LocalConnection
from hardware_profiles.places import RemotePlace, open_place
from hardware_profiles.places.inspection import PYTHON_VARIABLE

NAME = "ssh://loopback"


@pytest.fixture(autouse=True)
def this_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PYTHON_VARIABLE, sys.executable)


@pytest.fixture
def loopback() -> Iterator[LocalConnection]:
    with LocalConnection(NAME) as connection:
        yield connection


@pytest.fixture
def place(loopback: LocalConnection) -> Iterator[RemotePlace]:
    with open_place(loopback, emulated=False) as opened:
        yield opened


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """y = x + x, of any number of rows."""
    rows = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "double", rows[:1], rows[1:])
    path = tmp_path / "model.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path
