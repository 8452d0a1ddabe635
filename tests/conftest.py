"""What tests of several folders share."""

from __future__ import annotations

import pytest

from benchmarks.errors import TrimfitError
from benchmarks.suites.emulated.machine import EmulatedMachine


@pytest.fixture(scope="session")
def emulated_machine() -> EmulatedMachine:
    """The aarch64 wheel of onnxruntime under qemu; fetched once and kept."""
    try:
        return EmulatedMachine.fetched()
    except TrimfitError as error:
        pytest.skip(str(error))
