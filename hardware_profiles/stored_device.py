"""StoredDevice: a device that is known by its profiles only. It can be predicted for, and never be measured."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.errors import TrimfitError
from benchmarks.workload import Workload
from hardware_profiles.catalog import CATALOG, catalog_profiles
from hardware_profiles.device import LOCAL, Device
from hardware_profiles.profile import LatencyProfile

__all__ = ["StoredDevice", "is_stored"]


def is_stored(name: str) -> bool:
    """Whether a name on the command line is of profiles: "catalog:NAME", a .json file, or a folder of such."""
    if name.partition(":")[0] == LOCAL:
        return False
    return name.startswith(CATALOG) or name.endswith(".json") or (os.sep in name and Path(name).is_dir())


@dataclass(frozen=True)
class StoredDevice:
    """`profiles` by the names of their runtimes, all of one device, whatever machine this is."""

    name: str
    profiles: Mapping[str, LatencyProfile]

    @classmethod
    def open(cls, name: str) -> StoredDevice:
        """Read "catalog:NAME", a profile, or a folder of profiles; those of one runtime are merged.

        Raises TrimfitError for what is none, and for profiles of different devices, provenance or versions, naming
        what differs.
        """
        if name.startswith(CATALOG):
            return cls(name, _by_runtime(catalog_profiles(name.removeprefix(CATALOG))))
        path = Path(name).expanduser()
        files = sorted(path.glob("*.json")) if path.is_dir() else [path]
        if not files:
            raise TrimfitError(f"got {path}, expected a folder with profiles: `trimfit profile --out` writes them")
        return cls(name, _by_runtime({file: LatencyProfile.load(file) for file in files}))

    @property
    def device(self) -> Device:
        """What was measured."""
        return next(iter(self.profiles.values())).device

    @property
    def origin(self) -> str:
        """E.g. "profiles of onnxruntime-cpu 1.32.0: measured_device, 2026-11-22 by trimfit 0.1.0"."""
        runtimes = " and ".join(f"{name} {p.runtime_record.version}" for name, p in self.profiles.items())
        days = dict.fromkeys(str(day) for profile in self.profiles.values() for day in profile.conditions)
        return f"profiles of {runtimes}: {self.device.provenance}, {', '.join(days) or 'nobody knows when'}"

    def profile(self, runtime: str) -> LatencyProfile:
        """That of a runtime. Raises TrimfitError naming those there are."""
        if runtime not in self.profiles:
            known = ", ".join(self.profiles)
            raise TrimfitError(
                f"got runtime {runtime!r} for {self.name}, expected one of those it knows: {known}"
                " (a folder may hold profiles of several)"
            )
        return self.profiles[runtime]

    def workloads(self) -> tuple[Workload, ...]:
        """Those at which every runtime of it was measured."""
        found = [dict.fromkeys(entry.workload for entry in profile.entries) for profile in self.profiles.values()]
        return tuple(workload for workload in found[0] if all(workload in known for known in found))


def _by_runtime(found: Mapping[Path, LatencyProfile]) -> dict[str, LatencyProfile]:
    """One profile a runtime, the stock ones first."""
    merged: dict[str, LatencyProfile] = {}
    first = next(iter(found))
    for file, profile in found.items():
        if difference := found[first].device.difference(profile.device):
            raise TrimfitError(
                f"got {first.name} and {file.name} with {difference}, expected profiles of one device: keep them apart"
            )
        name = profile.runtime_record.name
        merged[name] = merged[name].merge(profile) if name in merged else profile
    _check_versions(merged.values())
    return dict(sorted(merged.items()))


def _check_versions(profiles: Iterable[LatencyProfile]) -> None:
    """A runtime with operators added must be the one that the others are of: "1.32.0+sparse.ab" is of "1.32.0"."""
    versions: dict[str, str] = {}
    for profile in profiles:
        record = profile.runtime_record
        base, version = record.name.partition("+")[0], record.version.partition("+")[0]
        if versions.setdefault(base, version) != version:
            raise TrimfitError(
                f"got profiles of {base} {versions[base]} and {version}, expected one version: measure them again"
            )
