"""Catalog: the profiles that ship with trimfit, by the names of their devices.

A profile is put there by `trimfit profile --runtime RUNTIME --out hardware_profiles/catalog/NAME/RUNTIME.json`, several
workloads of one runtime by `trimfit profiles merge`.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.errors import TrimfitError
from hardware_profiles.profile import LatencyProfile

__all__ = ["CATALOG", "catalog_names", "catalog_profiles"]

CATALOG = "catalog:"
"""How the name of a device on the command line begins that is to be found here."""
FOLDER = Path(__file__).parent


def catalog_names() -> tuple[str, ...]:
    """The devices there are, in alphabetic order."""
    return tuple(sorted({file.parent.name for file in FOLDER.glob("*/*.json")}))


def catalog_profiles(name: str) -> dict[Path, LatencyProfile]:
    """The profiles of a device by their files, without "catalog:".

    Raises TrimfitError for a name that is not there, naming those that are, and for a profile that does not say when
    and with what it was measured, or that holds options of one machine only.
    """
    if name not in catalog_names():
        known = ", ".join(f"{CATALOG}{known}" for known in catalog_names())
        expected = f"one of {known}" if known else "the path of a profile: the catalog is empty"
        raise TrimfitError(f"got {CATALOG}{name}, expected {expected}")
    found = {file: LatencyProfile.load(file) for file in sorted((FOLDER / name).glob("*.json"))}
    for file, profile in found.items():
        missing = [field for field in ("entries", "conditions") if not getattr(profile, field)]
        if missing or profile != profile.shared():
            wrong = f"no {missing[0]}" if missing else "options of one machine"
            raise TrimfitError(
                f"got {file} with {wrong}, expected what `trimfit profile --out` writes: measure it again"
            )
    return found
