"""Where a number about a device comes from, in words."""

from __future__ import annotations

__all__ = ["provenance_in_words"]

_WORDS = {
    "measured_device": "measured on the device",
    "measured_proxy": "measured on another machine with the same engine",
    "emulated_functional": "emulated: function only, no latency",
    "modelled": "modelled, not measured",
    "published": "published by others, not measured",
}


def provenance_in_words(word: str) -> str:
    """What a provenance word means; an unknown one is repeated."""
    return _WORDS.get(word, word)
