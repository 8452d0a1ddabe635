"""Templates of pages: a package's own before the shared ones."""

from __future__ import annotations

import functools

import jinja2

__all__ = ["environment"]


@functools.cache
def environment(package: str) -> jinja2.Environment:
    """Templates beside a package's modules and the shared ones.

    What they are given is escaped; what they are not given is an error.
    """
    loaders = [jinja2.PackageLoader(name, ".") for name in (package, "benchmarks.drawing")]
    return jinja2.Environment(
        loader=jinja2.ChoiceLoader(loaders),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
