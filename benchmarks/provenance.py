"""Provenance: where a number about a device comes from."""

from __future__ import annotations

from typing import Literal

__all__ = ["EMULATED", "Provenance"]

Provenance = Literal["measured_device", "measured_proxy", "emulated_functional", "modelled", "published"]

EMULATED: Provenance = "emulated_functional"
"""Parity and operator support alone: it can hold no time."""
