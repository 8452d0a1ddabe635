"""reach: a device by its name, in force while one is at it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.gpu.gpu import is_gpu
from benchmarks.gpu.place import GpuPlace, open_gpu
from benchmarks.place import current_place, in_force
from hardware_profiles.connections import Connection, connect
from hardware_profiles.device import Device, is_remote, on_gpu, resolve
from hardware_profiles.places.inspection import inspect
from hardware_profiles.places.remote_place import RemotePlace
from hardware_profiles.runtimes import runtimes

__all__ = ["EMULATED_VARIABLE", "open_place", "reach"]

EMULATED_VARIABLE = "TRIMFIT_EMULATED"
"""Here: "1" says that what is reached is an emulator. Models are tried there, and no time is kept."""


@contextmanager
def reach(name: str) -> Iterator[Device]:
    """The device of a name on the command line; within the block, what is measured is measured on it.

    A device that is in force already is not reached a second time.
    Raises DeviceUnreachableError where it does not answer, TrimfitError with what it lacks.
    """
    place = current_place()
    if isinstance(place, RemotePlace) and place.name == name:
        yield place.device
    elif is_gpu(name):
        gpu = place if isinstance(place, GpuPlace) and place.is_named(name) else open_gpu(name)
        with in_force(gpu):
            yield on_gpu(gpu)
    elif is_remote(name):
        with connect(name) as connection, open_place(connection) as opened:
            yield opened.device
    else:
        device = resolve(name)
        with device.in_force():
            yield device


@contextmanager
def open_place(connection: Connection, *, emulated: bool | None = None) -> Iterator[RemotePlace]:
    """The device behind a connection as a place, in force; `emulated`: None asks the environment.

    Raises as `reach`.
    """
    found = inspect(connection)
    found.check()
    assert found.python is not None
    told = os.environ.get(EMULATED_VARIABLE, "") not in ("", "0")
    place = RemotePlace(connection, found.python, emulated=told if emulated is None else emulated)
    with place, in_force(place), place.device.in_force():
        versions = {runtime.name: runtime.version for runtime in runtimes()}
        place.device = place.device.model_copy(update={"runtimes": versions})
        yield place
