"""What tests of several rooms need: devices that are reached like remote ones, and an emulated one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from far_sides import Adbd, Sshd, real_adbd, real_sshd

from benchmarks.errors import TrimfitError
from benchmarks.suites.emulated.machine import EmulatedMachine
from hardware_profiles.connections.ssh import CONFIG_VARIABLE


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """A real ssh daemon; `connect(sshd.name)` reaches it."""
    with real_sshd(tmp_path_factory.mktemp("sshd")) as far, pytest.MonkeyPatch.context() as patch:
        patch.setenv(CONFIG_VARIABLE, str(far.config))
        yield far


@pytest.fixture(scope="session")
def adbd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Adbd]:
    """A real adb daemon; `connect(adbd.name)` reaches it."""
    with real_adbd(tmp_path_factory.mktemp("adbd")) as far:
        yield far


@pytest.fixture(scope="session")
def emulated_machine() -> EmulatedMachine:
    """The aarch64 wheel of onnxruntime under qemu; fetched once and kept."""
    try:
        return EmulatedMachine.fetched()
    except TrimfitError as error:
        pytest.skip(str(error))
