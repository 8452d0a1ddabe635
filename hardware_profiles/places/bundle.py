"""A relocatable Python for aarch64 devices that have none: it brings its own C library, numpy and onnxruntime.

Its programs run through their own loader, so that nothing of the device's is used but the kernel: neither root nor a
package manager is needed there. On Android that is an experiment: it has run on Linux alone.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime

from benchmarks.errors import TrimfitError

__all__ = ["NAME", "build_bundle", "fetch_root", "pack"]

NAME = ".trimfit"
"""Of the folder in the bundle: `bin/python3` below it is looked for in the home folder and in /data/local/tmp."""
SUITE, PYTHON, LIBRARIES = "bookworm", "python3.11", "usr/lib/aarch64-linux-gnu"
PACKAGES = ("python3.11-minimal", "libpython3.11-stdlib", "libstdc++6", "libgcc-s1", "libc6", "zlib1g")
KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
MIRROR = "http://deb.debian.org/debian"
TAGS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64")
SECONDS = 600

_LOADER = "ld-linux-aarch64.so.1"
_NEEDED = (
    _LOADER, "libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libutil.so.1", "libstdc++.so.6",
    "libgcc_s.so.1", "libz.so.1", "libexpat.so.1", "libffi.so.8", "libcrypto.so.3", "libssl.so.3", "liblzma.so.5",
    "libbz2.so.1.0", "libuuid.so.1", "libmvec.so.1",
)  # fmt: skip
_NOT_NEEDED = {
    "test", "tests", "idlelib", "tkinter", "lib2to3", "ensurepip", "pydoc_data", "distutils", "dist-packages",
    "__pycache__", "f2py", "transformers", "quantization", "tools", "datasets", "backend", "include",
}  # fmt: skip
# POSIX sh alone: Android's is mksh. TRIMFIT_PREFIX, an emulator, is for tests
_PYTHON = f"""#!/bin/sh
D=${{0%/*}}; [ "$D" = "$0" ] && D=.; D=$(cd "$D/.." && pwd)
export PYTHONHOME=$D PYTHONPATH=$D/site PYTHONDONTWRITEBYTECODE=1 PYTHONPLATLIBDIR=pylib LD_LIBRARY_PATH=
unset LD_PRELOAD
exec $TRIMFIT_PREFIX "$D/lib/{_LOADER}" --library-path "$D/lib" --argv0 "$D/bin/{PYTHON}" "$D/bin/{PYTHON}" "$@"
"""


def build_bundle(out: Path) -> Path:
    """Write the bundle, a .tgz of about 50 MB; about half a minute, 250 MB of temporary files.

    Raises TrimfitError where Debian's packages or the wheels cannot be fetched: no apt, no network.
    """
    with tempfile.TemporaryDirectory(prefix="trimfit-") as folder:
        return pack(fetch_root(Path(folder)), out)


def fetch_root(folder: Path) -> Path:
    """Fetch Debian's Python for aarch64 and the wheels, by an apt with a state of its own; nothing is installed here.

    Returns the folder in which they lie as on a device, the wheels' packages below "site".
    """
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb") or not KEYS.is_file():
        raise TrimfitError(
            "got no apt-get, dpkg-deb or Debian's keys here, expected Debian or Ubuntu with debian-archive-keyring:"
            " make the bundle there"
        )
    root, state = folder / "root", folder / "apt"
    for part in ("lists/partial", "cache/archives/partial", "none"):
        (state / part).mkdir(parents=True)
    (state / "status").touch()
    (state / "sources.list").write_text(f"deb [arch=arm64 signed-by={KEYS}] {_mirror()} {SUITE} main\n")
    apt = ["apt-get", "-qq", *(part for option in _apt_options(state) for part in ("-o", option))]
    _run([*apt, "update"])
    _run([*apt, "-y", "--download-only", "install", *PACKAGES])
    for name in ("lib", "bin", "sbin"):
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    for deb in sorted((state / "cache" / "archives").glob("*.deb")):
        _run(["sh", "-c", 'dpkg-deb --fsys-tarfile "$1" | tar -x -C "$2" --keep-directory-symlink', "sh", deb, root])
    platforms = (part for tag in TAGS for part in ("--platform", tag))
    _run([
        sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile",
        "--target", root / "site", "--only-binary=:all:", *platforms, "--python-version", PYTHON.removeprefix("python"),
        "--implementation", "cp", "--abi", "cp311", "--abi", "abi3", "--abi", "none",
        f"onnxruntime=={onnxruntime.__version__}", f"numpy>={np.__version__.split('.')[0]}",
    ])  # fmt: skip
    return root


def pack(root: Path, out: Path) -> Path:
    """Write the bundle from what `fetch_root` fetched. Raises TrimfitError where something of it is missing."""
    if not (root / "usr/bin" / PYTHON).is_file() or not (root / LIBRARIES / _LOADER).exists():
        raise TrimfitError(f"got {root} without {PYTHON} or {_LOADER}, expected what `fetch_root` fetches")
    with tempfile.TemporaryDirectory(prefix="trimfit-") as name:
        folder = Path(name)
        (folder / "bin").mkdir()
        (folder / "lib").mkdir()
        shutil.copyfile(root / "usr/bin" / PYTHON, folder / "bin" / PYTHON)
        (folder / "bin" / "python3").write_text(_PYTHON)
        for program in (folder / "bin").iterdir():
            program.chmod(0o755)
        for library in filter(Path.exists, (root / LIBRARIES / needed for needed in _NEEDED)):
            shutil.copyfile(library, folder / "lib" / library.name)
        (folder / "lib" / _LOADER).chmod(0o755)
        shutil.copytree(root / "usr/lib" / PYTHON, folder / "pylib" / PYTHON, ignore=_unneeded, symlinks=False)
        shutil.copytree(root / "site", folder / "site", ignore=_unneeded)
        with tarfile.open(out, "w:gz", compresslevel=6) as archive:
            archive.add(folder, NAME, filter=_as_anybody)
    return out


def _apt_options(state: Path) -> Iterator[str]:
    yield from (
        "APT::Architecture=arm64", "APT::Architectures=arm64", f"Dir::State={state}",
        f"Dir::State::status={state}/status", f"Dir::Cache={state}/cache",
        f"Dir::Etc::sourcelist={state}/sources.list", f"Dir::Etc::sourceparts={state}/none",
        "APT::Install-Recommends=false", "Acquire::Languages=none", "Acquire::http::Timeout=20", "Debug::NoLocking=1",
    )  # fmt: skip


def _mirror() -> str:
    """The one that this machine's apt uses, if it is Debian's."""
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Origin: Debian"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    known = sorted(line for line in done.stdout.split() if "security" not in line)
    return known[0] if known else MIRROR


def _run(command: list[str | Path]) -> None:
    try:
        subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().splitlines() or [f"exit code {error.returncode}"]
        raise TrimfitError(
            f"got {said[-1]!r} from {Path(str(command[0])).name}, expected packages for aarch64: see that Debian's"
            " mirror and the package index can be reached"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise TrimfitError(f"got no end of {command[0]} in {SECONDS} s, expected packages: try again") from error


def _unneeded(folder: str, names: list[str]) -> set[str]:
    return {name for name in names if name in _NOT_NEEDED or name.startswith("config-") or name.endswith(".pyi")}


def _as_anybody(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member
