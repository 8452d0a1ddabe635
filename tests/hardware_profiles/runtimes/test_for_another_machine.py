"""Runtimes that are made while another machine is in force make models for that one."""

from __future__ import annotations

import pytest

from benchmarks.errors import TrimfitError
from benchmarks.place import in_force
from hardware_profiles.isa import instruction_sets
from hardware_profiles.runtimes import OnnxRuntimeCpu, OpenVinoEp
from hardware_profiles.runtimes.sparse import dispatcher
from hardware_profiles.runtimes.sparse.library import library_here, library_path


class Board:
    """An aarch64 machine somewhere else."""

    name, is_here, machine, system, isa = "ssh://board", False, "aarch64", "Linux", ("fp", "asimd", "asimddp")


@pytest.fixture
def board():
    with in_force(Board()):
        yield


def test_instruction_sets_are_its_own(board):
    assert instruction_sets() == ("asimd", "asimddp")
    assert dispatcher.operator_isas() == ("neondot", "neon")


def test_int8_is_made_as_its_cpu_multiplies(board):
    assert OnnxRuntimeCpu()._reduces_range() is False
    with in_force(type("Old", (Board,), {"isa": ("avx2",), "machine": "x86_64"})()):
        assert OnnxRuntimeCpu()._reduces_range() is True


def test_operators_are_those_of_its_machine(board):
    here = library_here_or_skip()
    assert library_or_skip().name == "libtrimfit-aarch64-linux.so"
    assert here == library_here(), "and this machine's stay at hand"


def test_a_plugin_of_this_machine_is_not_taken_for_its_own(board):
    with pytest.raises(TrimfitError, match="got ssh://board for openvino-ep, expected local"):
        OpenVinoEp()


def library_or_skip():
    try:
        return library_path()
    except TrimfitError as error:
        pytest.skip(str(error))


def library_here_or_skip():
    try:
        return library_here()
    except TrimfitError as error:
        pytest.skip(str(error))
