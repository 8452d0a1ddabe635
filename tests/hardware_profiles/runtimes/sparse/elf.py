"""What an ELF library says of itself to the loader: its machine, what it exports, needs and takes from others."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

_MACHINES = {62: "x86_64", 183: "aarch64"}
_NEEDED = 1
_DYNAMIC, _DYNAMIC_SYMBOLS = 6, 11
_LOAD = 1


@dataclass(frozen=True)
class Elf:
    machine: str
    needed: set[str]
    exported: set[str]
    taken: set[str]
    page_size: int


def read_elf(path: Path) -> Elf:
    """Read a little-endian 64-bit shared library."""
    data = path.read_bytes()
    assert data[:6] == b"\x7fELF\x02\x01"
    (machine,) = struct.unpack_from("<H", data, 18)
    segments = _table(data, "<IIQQQQQQ", *struct.unpack_from("<Q", data, 32), *struct.unpack_from("<HH", data, 54))
    sections = _table(data, "<IIQQQQIIQQ", *struct.unpack_from("<Q", data, 40), *struct.unpack_from("<HH", data, 58))

    def entries(kind: int, layout: str) -> list[tuple[int, ...]]:
        section = next(s for s in sections if s[1] == kind)
        return list(struct.iter_unpack(layout, data[section[4] : section[4] + section[5]]))

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
    )


def _table(data: bytes, layout: str, offset: int, size: int, count: int) -> list[tuple[int, ...]]:
    return [struct.unpack_from(layout, data, offset + i * size) for i in range(count)]
