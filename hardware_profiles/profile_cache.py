"""Where profiles are kept between runs, and how one is found again."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from pathlib import Path

from benchmarks.errors import TrimfitError, TrimfitWarning
from hardware_profiles.device import Device
from hardware_profiles.profile import LatencyProfile, RuntimeRecord
from hardware_profiles.runtimes import Runtime

__all__ = ["cache_folder", "cached_profile", "empty_profile", "near_misses", "profile_path"]

_NAMED = 3  # near misses in a warning


def cache_folder() -> Path:
    """`$TRIMFIT_CACHE/profiles`, or `~/.cache/trimfit/profiles`."""
    base = os.environ.get("TRIMFIT_CACHE")
    return (Path(base) if base else Path.home() / ".cache" / "trimfit") / "profiles"


def profile_path(folder: Path, device: Device, runtime: Runtime) -> Path:
    """One file for each device, runtime and version; options that were asked for make another file."""
    parts = [device.fingerprint, runtime.name, runtime.version]
    if options := runtime.options():
        parts.append(hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()[:8])
    return Path(folder) / f"{'-'.join(parts)}.json"


def empty_profile(device: Device, runtime: Runtime) -> LatencyProfile:
    """A profile that knows nothing yet."""
    return LatencyProfile(device=device, runtime=RuntimeRecord.of(runtime))


def cached_profile(path: Path, device: Device, runtime: Runtime) -> LatencyProfile:
    """The profile kept at `path`, or an empty one.

    A cache holds nothing that cannot be measured again: a broken file, or one of another device or version,
    is named in a warning, put aside as `*.unusable` and started anew. Where there is none, profiles of this CPU under
    other limits or of another version of the runtime are named, and kept.
    """
    if not path.exists():
        if missed := near_misses(path.parent, device, runtime):
            named = "; ".join(missed[:_NAMED])
            warnings.warn(f"measuring anew, since none of these fits: {named}", TrimfitWarning, stacklevel=2)
        return empty_profile(device, runtime)
    try:
        profile = LatencyProfile.load(path)
        profile.check(device, runtime)
    except TrimfitError as error:
        aside = path.with_suffix(".unusable")
        os.replace(path, aside)
        warnings.warn(f"measuring again: {error} (kept as {aside})", TrimfitWarning, stacklevel=2)
        return empty_profile(device, runtime)
    return profile


def near_misses(folder: Path, device: Device, runtime: Runtime) -> list[str]:
    """Profiles of a device of this name and of this runtime that are of no use now, and what differs; newest first."""
    files = sorted(folder.glob(f"*-{runtime.name}-*.json"), key=lambda file: file.stat().st_mtime, reverse=True)
    found = []
    for file in files:
        try:
            profile = LatencyProfile.load(file)
        except TrimfitError:  # whoever asks for that very one is told
            continue
        if profile.device.name == device.name and (difference := profile.difference(device, runtime)):
            found.append(f"{file.name} has {difference}")
    return found
