"""Where profiles are kept between runs, and how one is found again."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from pathlib import Path

from benchmarks.errors import TrimfitError
from hardware_profiles.device import Device
from hardware_profiles.profile import LatencyProfile, RuntimeRecord
from hardware_profiles.runtimes import Runtime

__all__ = ["cache_folder", "cached_profile", "empty_profile", "profile_path"]


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
    is named in a warning, put aside as `*.unusable` and started anew.
    """
    if not path.exists():
        return empty_profile(device, runtime)
    try:
        profile = LatencyProfile.load(path)
        profile.check(device, runtime)
    except TrimfitError as error:
        aside = path.with_suffix(".unusable")
        os.replace(path, aside)
        warnings.warn(f"measuring again: {error} (kept as {aside})", stacklevel=2)
        return empty_profile(device, runtime)
    return profile
