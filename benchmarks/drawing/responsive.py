"""A figure drawn twice: wide for a desk and narrow for a phone; the style sheet shows one of the two."""

from __future__ import annotations

from collections.abc import Callable

from markupsafe import Markup

__all__ = ["NARROW", "WIDE", "both"]

WIDE, NARROW = 1016, 340
"""Pixels."""


def both(draw: Callable[[int], Markup]) -> Markup:
    """What `draw` makes of each width."""
    return Markup('<div class="wide">{}</div><div class="narrow">{}</div>').format(draw(WIDE), draw(NARROW))
