"""Runtime options as a deployment folder keeps them: nothing in them is true of one machine only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hardware_profiles.runtimes import Runtime

__all__ = ["library_of", "portable_options"]

_LIBRARY = "custom_op_library"


def library_of(runtime: Runtime) -> Path | None:
    """The operator library that a runtime registers; None for one that needs none."""
    library = runtime.options().get(_LIBRARY)
    return Path(library) if library else None


def portable_options(runtime: Runtime) -> dict[str, Any]:
    """The runtime's options, the library by its file name: it lies beside the model; a plug-in by its package."""
    options, library = runtime.options(), library_of(runtime)
    if library:
        options[_LIBRARY] = library.name
    if "ep" in options:
        options["ep"] = {key: value for key, value in options["ep"].items() if key != "library"}
    return options
