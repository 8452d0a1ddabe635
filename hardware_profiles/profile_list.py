"""ProfileList: which profiles there are in the catalog and in the cache, and which of them are this machine's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from benchmarks.errors import TrimfitError
from benchmarks.workload import Workload
from hardware_profiles.catalog import CATALOG, catalog_names, catalog_profiles, catalog_published, is_published
from hardware_profiles.conditions import Conditions
from hardware_profiles.device import Device, local_device
from hardware_profiles.profile import LatencyProfile
from hardware_profiles.profile_cache import cache_folder
from hardware_profiles.published_model import PublishedModel
from hardware_profiles.runtimes import get
from hardware_profiles.runtimes.sparse.dispatcher import operator_isas

__all__ = ["Listed", "list_profiles"]


class Listed(BaseModel):
    """One profile. `name` is what `--device` takes; `problem` is why it cannot be read, all else is empty then.

    `differs` says what keeps it from being this machine's as it is now; None where nothing does. `source` is who
    published it; "" for what was measured with trimfit.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    device: str = ""
    microarchitecture: str = ""
    runtime: str = ""
    version: str = ""
    provenance: str = ""
    conditions: tuple[Conditions, ...] = ()
    source: str = ""
    hidden_sizes: tuple[int, ...] = ()
    workloads: tuple[Workload, ...] = ()
    measurements: int = 0
    differs: str | None = None
    problem: str | None = None

    @classmethod
    def of(cls, name: str, profile: LatencyProfile) -> Listed:
        """Describe a profile."""
        record = profile.runtime_record
        return cls(
            name=name,
            device=profile.device.name,
            microarchitecture=profile.device.microarchitecture,
            runtime=record.name,
            version=record.version,
            provenance=profile.device.provenance,
            conditions=profile.conditions,
            hidden_sizes=tuple(dict.fromkeys(entry.unit.hidden_size for entry in profile.entries)),
            workloads=tuple(dict.fromkeys(entry.workload for entry in profile.entries)),
            measurements=len(profile.entries) + len(profile.ladder) + len(profile.anchors),
            differs=_differs(profile),
        )

    @classmethod
    def published(cls, name: str, model: PublishedModel) -> Listed:
        """Describe published figures: no runtime and no day of trimfit's, and never this machine's."""
        return cls(
            name=name,
            device=model.device.name,
            microarchitecture=model.core,
            provenance=model.device.provenance,
            source=model.origin,
            hidden_sizes=model.hidden_sizes,
            measurements=model.encoders,
            differs="others measured it",
        )


def list_profiles(cache: Path | None = None) -> list[Listed]:
    """The catalog's profiles, then those in a folder (None: `cache_folder()`)."""
    return [*_of_catalog(), *_of_folder(cache or cache_folder())]


def _of_catalog() -> Iterator[Listed]:
    for device in catalog_names():
        name = f"{CATALOG}{device}"
        try:
            if is_published(name):
                yield Listed.published(name, catalog_published(device))
                continue
            found = catalog_profiles(device).values()
            yield from (Listed.of(name, p) for p in sorted(found, key=lambda p: p.runtime_record.name))
        except TrimfitError as error:
            yield Listed(name=name, problem=str(error))


def _of_folder(folder: Path) -> Iterator[Listed]:
    for file in sorted(folder.glob("*.json")):
        try:
            yield Listed.of(str(file), LatencyProfile.load(file))
        except TrimfitError as error:
            yield Listed(name=str(file), problem=str(error))


def _differs(profile: LatencyProfile) -> str | None:
    """Of this machine as the profile had it: with the sparse operators restricted or not."""
    limit = profile.device.operators_isa
    here: Device = local_device()
    here = here.limited(limit if limit in operator_isas() else None)
    with here.in_force():
        try:
            return profile.difference(here, get(profile.runtime_record.name))
        except TrimfitError as error:
            return str(error)
