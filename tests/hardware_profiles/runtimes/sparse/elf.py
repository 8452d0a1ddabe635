"""What an ELF library says of itself to the loader: its machine, what it exports, needs and takes from others."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

_MACHINES = {62: "x86_64", 183: "aarch64"}
_NEEDED = 1
_RELOCATIONS = 4
_DYNAMIC, _DYNAMIC_SYMBOLS = 6, 11
_LOAD = 1
_EXECUTABLE = 1


@dataclass(frozen=True)
class Loaded:
    """A piece of the file as it lies in memory: `size` bytes from `address`, zeros after `content`."""

    address: int
    content: bytes
    size: int
    executable: bool


@dataclass(frozen=True)
class Relocation:
    """Where the loader writes an address: kind and addend as the processor's ABI defines them."""

    address: int
    kind: int
    addend: int


@dataclass(frozen=True)
class Elf:
    machine: str
    needed: set[str]
    exported: set[str]
    taken: set[str]
    page_size: int
    loaded: tuple[Loaded, ...]
    relocations: tuple[Relocation, ...]


def read_elf(path: Path) -> Elf:
    """Read a little-endian 64-bit shared library."""
    data = path.read_bytes()
    assert data[:6] == b"\x7fELF\x02\x01"
    (machine,) = struct.unpack_from("<H", data, 18)
    segments = _table(data, "<IIQQQQQQ", *struct.unpack_from("<Q", data, 32), *struct.unpack_from("<HH", data, 54))
    sections = _table(data, "<IIQQQQIIQQ", *struct.unpack_from("<Q", data, 40), *struct.unpack_from("<HH", data, 58))

    def entries(kind: int, layout: str) -> list[tuple[int, ...]]:
        found = [data[s[4] : s[4] + s[5]] for s in sections if s[1] == kind]
        return list(struct.iter_unpack(layout, b"".join(found)))

    def name(offset: int) -> str:
        start = names + offset
        return data[start : data.index(b"\0", start)].decode()

    names = sections[next(s[6] for s in sections if s[1] == _DYNAMIC_SYMBOLS)][4]
    symbols = [(name(s[0]), s[3]) for s in entries(_DYNAMIC_SYMBOLS, "<IBBHQQ") if s[0]]
    return Elf(
        machine=_MACHINES[machine],
        needed={name(value) for tag, value in entries(_DYNAMIC, "<QQ") if tag == _NEEDED},
        exported={symbol for symbol, section in symbols if section},
        taken={symbol for symbol, section in symbols if not section},
        page_size=max(s[7] for s in segments if s[0] == _LOAD),
        loaded=tuple(
            Loaded(s[3], data[s[2] : s[2] + s[5]], s[6], bool(s[1] & _EXECUTABLE)) for s in segments if s[0] == _LOAD
        ),
        relocations=tuple(
            Relocation(address, info & 0xFFFFFFFF, addend) for address, info, addend in entries(_RELOCATIONS, "<QQq")
        ),
    )


def _table(data: bytes, layout: str, offset: int, size: int, count: int) -> list[tuple[int, ...]]:
    return [struct.unpack_from(layout, data, offset + i * size) for i in range(count)]
