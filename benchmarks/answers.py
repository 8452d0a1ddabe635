"""Answers: what a model answers elsewhere, held against what it answers here."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contestant import Contestant, Launch
from benchmarks.errors import TrimfitError
from benchmarks.local_place import LocalPlace
from benchmarks.place import current_place, in_force

__all__ = ["answer_differences", "relative_difference"]


def answer_differences(
    contestants: Sequence[Contestant], inputs: Mapping[str, Path], options_here: Mapping[str, Any]
) -> dict[str, float]:
    """By the contestants' names, how far the answers at the place in force are from this machine's.

    Args:
        contestants: what to start once there and once here.
        inputs: by their names, the pools whose first row they are given.
        options_here: what replaces options of theirs on this machine: libraries that are made for another one.

    Returns:
        The largest difference of any output, relative to the largest output of this machine.
    """
    found = {}
    for contestant in contestants:
        there = _answers(contestant, inputs[contestant.name])
        mine = {name: value for name, value in options_here.items() if name in contestant.options}
        with in_force(LocalPlace()):
            plain = contestant.model_copy(update={"options": {**contestant.options, **mine}})
            here = _answers(plain, inputs[contestant.name])
        found[contestant.name] = relative_difference(there, here, contestant.name)
    return found


def relative_difference(there: Sequence[np.ndarray], here: Sequence[np.ndarray], name: str) -> float:
    """The largest difference between outputs of the same shapes over the largest value of `here`.

    Raises TrimfitError for other shapes, and for values that are no numbers.
    """
    shapes = [[output.shape for output in outputs] for outputs in (there, here)]
    if shapes[0] != shapes[1] or not all(np.isfinite(output).all() for output in (*there, *here)):
        raise TrimfitError(
            f"got answers of {name} of shapes {shapes[0]}, expected finite ones of {shapes[1]}, as on this machine:"
            " the runtime there cannot run it"
        )
    pairs = list(zip(there, here, strict=True))
    largest = max((float(np.abs(mine).max()) for _, mine in pairs if mine.size), default=0.0)
    difference = max((float(np.abs(theirs - mine).max()) for theirs, mine in pairs if mine.size), default=0.0)
    return difference / largest if largest else difference


def _answers(contestant: Contestant, inputs: Path) -> list[np.ndarray]:
    """The outputs of one call, in their order."""
    place = current_place()
    with tempfile.TemporaryDirectory(prefix="trimfit-") as folder, Launch(contestant, inputs, seed=0) as launch:
        target = Path(folder) / "answers.npz"
        name = place.scratch(target)
        launch.ready()
        launch.ask("load", cpus=[])
        launch.ask("outputs", path=name)
        place.fetch(name, target)
        with np.load(target, allow_pickle=False) as arrays:
            return [np.asarray(arrays[f"output{i}"], float) for i in range(len(arrays.files))]
