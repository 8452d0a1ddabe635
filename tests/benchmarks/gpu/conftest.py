"""A GPU of paper: a library that answers as the driver's would, and this CPU in a GPU's place."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.gpu.place import GpuPlace, stand_in
from benchmarks.place import in_force

SOURCE = Path(__file__).with_name("paper_gpu.c")


@pytest.fixture(scope="session")
def paper_gpu(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The library, in the place of libcuda and of NVML."""
    pytest.importorskip("ziglang", reason="ziglang compiles the GPU of paper")
    if sys.platform != "linux":
        pytest.skip("the GPU of paper is a shared library of Linux")
    target = tmp_path_factory.mktemp("paper") / "libpaper.so"
    command = [sys.executable, "-m", "ziglang", "cc", "-shared", "-fPIC", "-O1", "-o", str(target), str(SOURCE)]
    subprocess.run(command, check=True, timeout=120)
    return str(target)


@pytest.fixture
def in_its_place() -> GpuPlace:
    """This CPU in a GPU's place, in force."""
    place = stand_in()
    with in_force(place):
        yield place
