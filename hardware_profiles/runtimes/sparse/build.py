"""Compiles the sparse operators: C sources -> one shared library per target, by the compiler in the ziglang package.

Runs while the package is being built, before anything else of it can be imported: standard library only. By hand:
`python -m hardware_profiles.runtimes.sparse.build [--target NAME] [--sanitize] [--out DIR]`.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

__all__ = ["LIBRARIES", "SOURCES", "TARGETS", "CompilationError", "Target", "build", "library_name"]

SOURCES = Path(__file__).with_name("csrc")
LIBRARIES = Path(__file__).with_name("lib")

_COMPILE = (
    "-std=gnu11",
    "-O3",
    "-fPIC",
    "-ffreestanding",  # no libc headers on any target, as there are none for Android
    "-ffp-contract=fast",  # a product and a sum may be one instruction; nothing else about rounding or NaN is relaxed
    "-fvisibility=hidden",
    "-fno-math-errno",  # a square root is an instruction, not a call
    "-fno-stack-protector",  # its handler would be one more symbol of libc
    "-Wall",
    "-Wextra",
    "-Werror",
)
_LINK = (
    "-shared",
    "-Wl,-z,defs",  # what no library brings is an error here, not on the device
    "-Wl,--build-id=none",
)
_ORDINARY = ("-g0", "-fno-sanitize=undefined")  # the sanitizer is zig's default for C
# its reports name source lines
_SANITIZE = ("-O1", "-g", "-fsanitize=undefined", "-fno-sanitize-trap=undefined")

# All that the library may take from the device's libc. It is linked against a stand-in with these symbols: Android's
# libc comes only with its development kit, and for glibc this is what holds the promise to run on any version. The
# library names the true one as needed (without which Android's loader would not look there), and another symbol is an
# error when building.
_LIBC = ("getauxval", "getenv", "memcmp", "memcpy", "memmove", "memset", "strcmp", "strlen")


class CompilationError(RuntimeError):
    """The sparse operators cannot be compiled: the reason, in one line or with the compiler's words below it."""


@dataclass(frozen=True)
class Target:
    """What a library is compiled for.

    `libc` is the name of the C library there. `variants` are the flags of the sources that are compiled for more than
    the target's baseline, by file name: they run only where the processor is found to have these instructions.
    """

    triple: str
    libc: str
    variants: Mapping[str, tuple[str, ...]]
    link: tuple[str, ...] = ()


_AVX2 = ("-mavx2", "-mfma")
# without the last flag 512-bit vectors may be cut in two
_AVX512 = (*_AVX2, "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mprefer-vector-width=512")
_X86 = {
    "isa_avx2.c": _AVX2,
    "isa_avx512.c": _AVX512,
    "isa_avx512vnni.c": (*_AVX512, "-mavx512vnni"),
}
_ARM = {"isa_neon.c": (), "isa_neondot.c": ("-mcpu=generic+dotprod",)}
_VARIANTS = frozenset(_X86) | frozenset(_ARM)

TARGETS = {
    "x86_64-linux": Target("x86_64-linux-gnu.2.17", "libc.so.6", _X86),
    "aarch64-linux": Target("aarch64-linux-gnu.2.17", "libc.so.6", _ARM),
    "aarch64-android": Target("aarch64-linux-android", "libc.so", _ARM, link=("-Wl,-z,max-page-size=16384",)),
}


def library_name(target: str, sanitize: bool = False) -> str:
    """File name of a target's library, e.g. "libtrimfit-x86_64-linux.so"."""
    return f"libtrimfit-{target}{'-sanitized' if sanitize else ''}.so"


def build(
    target: str, out: Path = LIBRARIES, sanitize: bool = False, sources: Path = SOURCES, force: bool = False
) -> Path:
    """Compile the library of one target into `out`, unless it is there and current.

    Current: beside the library lies the digest of the sources, flags and compiler version that made it, and of the
    library itself. The same sources give the same bytes. `sanitize` makes undefined behaviour stop the process with a
    report. Raises CompilationError for an unknown target, without ziglang, or with the compiler's words.
    """
    if target not in TARGETS:
        raise CompilationError(f"got target {target!r}, expected one of {', '.join(TARGETS)}")
    library = Path(out) / library_name(target, sanitize)
    stamp = library.with_suffix(".json")
    made_of = _digest_of_inputs(TARGETS[target], sanitize, sources)
    if force or not _is_current(library, stamp, made_of):
        library.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="trimfit-build-") as folder:
            made = _compile(TARGETS[target], sanitize, sources, Path(folder))
            _move(made, library)
        stamp.write_text(json.dumps({"inputs": made_of, "library": _digest(library.read_bytes())}) + "\n")
    return library


def _compile(target: Target, sanitize: bool, sources: Path, folder: Path) -> Path:
    """Compile every source and link them in `folder`."""
    zig = _Zig(target.triple, None if sanitize else folder / "cache")

    def compile_one(source: str) -> str:
        # the last flag wins
        flags = (*_COMPILE, *target.variants.get(source, ()), *(_SANITIZE if sanitize else _ORDINARY))
        zig.cc((*flags, "-c", source, "-o", str(folder / f"{source}.o")), cwd=sources)
        return f"{source}.o"

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        objects = list(pool.map(compile_one, _units(target, sources)))
    # the sanitizer's own code needs more of libc, which zig brings
    rest = _SANITIZE if sanitize else ("-s", "-nostdlib", _stand_in(zig, target.libc, folder))
    zig.cc((*_LINK, *target.link, *objects, *rest, "-o", "library.so"), cwd=folder)
    return folder / "library.so"


def _stand_in(zig: _Zig, name: str, folder: Path) -> str:
    """A C library of that name which does nothing: it is linked against, never shipped."""
    (folder / "libc.c").write_text("".join(f"void {symbol}(void) {{}}\n" for symbol in _LIBC))
    flags = ("-shared", "-nostdlib", "-fno-builtin", "-w", f"-Wl,-soname,{name}")
    zig.cc((*flags, "libc.c", "-o", "libc.so"), cwd=folder)
    return "libc.so"


class _Zig:
    """The compiler for one target. It caches what it makes in a folder; None: in its own, which outlives the build."""

    def __init__(self, triple: str, cache: Path | None) -> None:
        self._command = (sys.executable, "-m", "ziglang", "cc", "-target", triple)
        places = {f"ZIG_{scope}_CACHE_DIR": str(cache) for scope in ("GLOBAL", "LOCAL")} if cache else {}
        self._environment = {**os.environ, **places}

    def cc(self, arguments: Sequence[str], cwd: Path) -> None:
        done = subprocess.run(
            (*self._command, *arguments), cwd=cwd, env=self._environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise CompilationError(
                f"the sparse operators do not compile ({' '.join(arguments[-3:])}):\n{done.stderr or done.stdout}"
            )


def _units(target: Target, sources: Path) -> list[str]:
    """The sources that are compiled for a target: the common ones, and its own variants."""
    units = sorted(file.name for file in sources.glob("*.c"))
    if not units:
        raise CompilationError(f"got no C sources in {sources}, expected the operators' csrc: install trimfit anew")
    return [unit for unit in units if unit not in _VARIANTS or unit in target.variants]


def _digest_of_inputs(target: Target, sanitize: bool, sources: Path) -> str:
    parts = [repr((_COMPILE, _LINK, _SANITIZE if sanitize else (), target, _ziglang_version()))]
    for file in sorted(sources.iterdir()):
        parts.append(f"{file.name} {_digest(file.read_bytes())}")
    return _digest("\n".join(parts).encode())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _is_current(library: Path, stamp: Path, made_of: str) -> bool:
    try:
        made = json.loads(stamp.read_text())
        return bool(made == {"inputs": made_of, "library": _digest(library.read_bytes())})
    except (OSError, ValueError):
        return False


def _move(made: Path, library: Path) -> None:
    """Put a file in place at once: a process that has the old library loaded keeps it, and none sees half of one."""
    beside = library.with_name(f".{library.name}.{os.getpid()}")
    try:
        beside.write_bytes(made.read_bytes())
        beside.replace(library)
    finally:
        beside.unlink(missing_ok=True)


def _ziglang_version() -> str:
    try:
        return importlib.metadata.version("ziglang")
    except importlib.metadata.PackageNotFoundError:
        raise CompilationError(
            "got no ziglang, expected the Python package that compiles the sparse operators: run `pip install ziglang`"
        ) from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line. Returns 0, or 2 when a library cannot be built."""
    parser = argparse.ArgumentParser(description="Compile the sparse operators for onnxruntime.")
    parser.add_argument("--target", action="append", choices=list(TARGETS), help="default: every target")
    parser.add_argument("--sanitize", action="store_true", help="stop at undefined behaviour, with a report")
    parser.add_argument("--force", action="store_true", help="build also what is current")
    parser.add_argument("--out", type=Path, default=LIBRARIES, help="default: lib/ beside this file")
    chosen = parser.parse_args(arguments)
    try:
        for target in chosen.target or TARGETS:
            sys.stdout.write(f"{build(target, chosen.out, chosen.sanitize, force=chosen.force)}\n")
    except CompilationError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
