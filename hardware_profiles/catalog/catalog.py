"""Catalog: the profiles and published figures that ship with trimfit, by the names of their devices.

A profile is put there by `trimfit profile --runtime RUNTIME --out hardware_profiles/catalog/NAME/RUNTIME.json`, several
workloads of one runtime by `trimfit profiles merge`; published figures by the study named like the device.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.errors import TrimfitError
from hardware_profiles.catalog.core_families import core_family
from hardware_profiles.catalog.unverified_zeros import unverified_zeros
from hardware_profiles.profile import LatencyProfile
from hardware_profiles.published_model import PublishedModel

__all__ = ["CATALOG", "PUBLISHED", "catalog_names", "catalog_profiles", "catalog_published", "is_published"]

CATALOG = "catalog:"
"""How the name of a device on the command line begins that is to be found here."""
PUBLISHED = "published.json"
"""The file of a device that others measured."""
FOLDER = Path(__file__).parent


def catalog_names() -> tuple[str, ...]:
    """The devices there are, in alphabetic order."""
    return tuple(sorted({file.parent.name for file in FOLDER.glob("*/*.json")}))


def is_published(name: str) -> bool:
    """Whether a device, "catalog:NAME", is known by what others published of it."""
    device = name.removeprefix(CATALOG)
    return name.startswith(CATALOG) and device in catalog_names() and (FOLDER / device / PUBLISHED).is_file()


def catalog_published(name: str) -> PublishedModel:
    """The published figures of a device, without "catalog:". Raises TrimfitError for a broken file."""
    return PublishedModel.load(FOLDER / name / PUBLISHED)


def catalog_profiles(name: str) -> dict[Path, LatencyProfile]:
    """The profiles of a device by their files, without "catalog:".

    Raises TrimfitError for a name that is not there, naming those that are, for a device that is published only, and
    for a profile that does not say when and with what it was measured, or that holds options of one machine only.
    """
    if name not in catalog_names():
        raise _unknown(name)
    if is_published(f"{CATALOG}{name}"):
        raise TrimfitError(
            f"got {CATALOG}{name}, which is published figures, expected a profile: `trimfit advise` predicts from them"
        )
    found = {file: LatencyProfile.load(file) for file in sorted((FOLDER / name).glob("*.json"))}
    for file, profile in found.items():
        missing = [field for field in ("entries", "conditions") if not getattr(profile, field)]
        if missing or profile != profile.shared():
            wrong = f"no {missing[0]}" if missing else "options of one machine"
            raise TrimfitError(
                f"got {file} with {wrong}, expected what `trimfit profile --out` writes: measure it again"
            )
    return found


def _unknown(name: str) -> TrimfitError:
    """For the name of a core that is modelled: what can be said of it without any milliseconds."""
    known = ", ".join(f"{CATALOG}{known}" for known in catalog_names())
    expected = f"one of {known}" if known else "the path of a profile: the catalog is empty"
    zeros = "; ".join(map(str, unverified_zeros(core_family(name))))
    modelled = f", which is modelled and holds no milliseconds (there structured and int8 first; {zeros})"
    return TrimfitError(f"got {CATALOG}{name}{modelled if zeros else ''}, expected {expected}")
