"""Survivors: which heads, neurons and layers of the teacher live on in the student, and what each was worth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from optimizer import files
from optimizer.decision_record import KeptDimensions, KeptLayer
from optimizer.pruning.sensitivity import Sensitivity
from optimizer.surgery import LayerOrigin, SurgeryReport

__all__ = ["Worth", "kept_dimensions", "kept_layers"]

_FILE = "worth.npz"
_DIGITS = 4  # of an importance that are told


@dataclass(frozen=True)
class Worth:
    """Importance of the teacher's heads and FFN neurons, an array for each layer; none where it was not measured."""

    heads: tuple[np.ndarray, ...] = ()
    ffn: tuple[np.ndarray, ...] = ()

    @classmethod
    def of(cls, sensitivity: Sensitivity) -> Worth:
        """What a sensitivity says of single units."""
        return cls(sensitivity.head_importance, sensitivity.ffn_importance)

    def write(self, folder: Path) -> None:
        """Keep it, so that an interrupted job knows it when it goes on."""
        arrays = {f"heads {i}": each for i, each in enumerate(self.heads)}
        arrays |= {f"ffn {i}": each for i, each in enumerate(self.ffn)}

        def save(part: Path) -> None:
            with part.open("wb") as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]  # the stub takes all keywords for its own

        files.write_atomically(folder / _FILE, save)

    @classmethod
    def read(cls, folder: Path) -> Worth:
        """Read what `write` kept; nothing where it did not."""
        path = folder / _FILE
        if not path.is_file():
            return cls()
        with np.load(path) as known:
            depth = len(known.files) // 2
            heads, ffn = (tuple(known[f"{kind} {i}"] for i in range(depth)) for kind in ("heads", "ffn"))
        return cls(heads, ffn)


def kept_layers(origin: SurgeryReport, worth: Worth) -> tuple[KeptLayer, ...]:
    """One entry for each of the teacher's layers, those that are gone included."""
    survivors = {each.layer: each for each in origin.layers}
    found = []
    for index, layer in enumerate(origin.before.layers):
        kept = survivors.get(index, LayerOrigin(layer=index, heads=(), ffn=()))
        record = KeptLayer(
            layer=index,
            heads=kept.heads,
            heads_total=layer.heads,
            ffn=len(kept.ffn),
            ffn_total=layer.ffn,
        )
        found.append(record.model_copy(update=_worth_of(kept, worth)))
    return tuple(found)


def kept_dimensions(origin: SurgeryReport) -> KeptDimensions | None:
    """The hidden dimensions that are left; None where all are."""
    if origin.dimensions is None:
        return None
    return KeptDimensions(kept=origin.dimensions, total=origin.before.hidden_size)


def _worth_of(kept: LayerOrigin, worth: Worth) -> dict[str, object]:
    if not worth.heads:
        return {}
    heads, ffn = worth.heads[kept.layer], worth.ffn[kept.layer]
    total = float(ffn.sum())
    return {
        "head_importance": tuple(_rounded(each) for each in heads),
        "ffn_importance": _rounded(total),
        "ffn_importance_kept": _rounded(float(ffn[list(kept.ffn)].sum()) / total) if total else None,
    }


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
