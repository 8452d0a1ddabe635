"""KernelMachine: calls single kernels of the aarch64 library, without a system around them, and counts instructions."""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from elf import Elf, read_elf
from unicorn import UC_ARCH_ARM64, UC_HOOK_BLOCK, UC_MODE_ARM, Uc
from unicorn import arm64_const as arm

BASE, STACK, HEAP, RETURN = 0x10000000, 0x20000000, 0x40000000, 0x30000000
PAGE = 0x1000
STACK_BYTES, HEAP_BYTES = 1 << 20, 64 << 20
RELATIVE = 1027  # R_AARCH64_RELATIVE
FLOATING_POINT = 3 << 20  # of CPACR_EL1: not trapped

# (mask, value) of an instruction's 32 bits, Arm Architecture Reference Manual, C4.1 "Data processing: SIMD"
VECTOR_MULTIPLICATIONS = {
    "fmla": ((0xBFA0FC00, 0x0E20CC00), (0xBF80F400, 0x0F801000)),  # of vectors; by element
    "sdot": ((0xBFE0FC00, 0x0E809400), (0xBFC0F400, 0x0F80E000)),
    "smull": ((0xBFE0FC00, 0x0E20C000),),  # of int8, both halves
}


@dataclass(frozen=True)
class Executed:
    """Instructions that a call executed, and how many of them multiplied vectors, by mnemonic."""

    instructions: int
    fmla: int
    sdot: int
    smull: int


class KernelMachine:
    """The library mapped and relocated as a loader does it; its libc is not there, and no kernel here calls it."""

    def __init__(self, library: Path) -> None:
        elf = read_elf(library)
        self._uc = Uc(UC_ARCH_ARM64, UC_MODE_ARM)
        self._uc.ctl_set_cpu_model(arm.UC_CPU_ARM64_MAX)  # has every instruction that a kernel may be compiled to
        end = max(piece.address + piece.size for piece in elf.loaded)
        self._uc.mem_map(BASE, -(-end // PAGE) * PAGE)
        for piece in elf.loaded:
            self._uc.mem_write(BASE + piece.address, piece.content)
        for entry in elf.relocations:
            if entry.kind == RELATIVE:
                self._uc.mem_write(BASE + entry.address, struct.pack("<Q", BASE + entry.addend))
        for address, size in ((STACK, STACK_BYTES), (HEAP, HEAP_BYTES), (RETURN, PAGE)):
            self._uc.mem_map(address, size)
        self._tables = _kernel_tables(elf)
        self._free = HEAP
        self._blocks: Counter[tuple[int, int]] = Counter()
        self._uc.hook_add(UC_HOOK_BLOCK, lambda uc, address, size, data: self._blocks.update([(address, size)]))
        self._uc.reg_write(arm.UC_ARM64_REG_CPACR_EL1, FLOATING_POINT)

    def kernel(self, isa: str, place: int) -> int:
        """Address of the function that the table of an instruction set names `place` pointers after its name."""
        return int(struct.unpack("<Q", self._uc.mem_read(BASE + self._tables[isa] + 8 * place, 8))[0])

    def put(self, values: np.ndarray | bytes) -> int:
        """Copy values into memory, 64-byte aligned as onnxruntime's allocator leaves them; returns where they are."""
        content = values if isinstance(values, bytes) else np.ascontiguousarray(values).tobytes()
        address = self._free
        self._free += -(-len(content) // 64) * 64
        self._uc.mem_write(address, content)
        return address

    def get(self, address: int, like: np.ndarray) -> np.ndarray:
        """Values of the same type and shape as `like`."""
        return np.frombuffer(bytes(self._uc.mem_read(address, like.nbytes)), like.dtype).reshape(like.shape)

    def call(self, function: int, *arguments: int) -> Executed:
        """Call a function with integers or addresses in its first registers."""
        for number, value in enumerate(arguments):
            self._uc.reg_write(arm.UC_ARM64_REG_X0 + number, value)
        self._uc.reg_write(arm.UC_ARM64_REG_SP, STACK + STACK_BYTES)
        self._uc.reg_write(arm.UC_ARM64_REG_LR, RETURN)
        self._blocks.clear()
        self._uc.emu_start(function, RETURN)
        return self._executed()

    def _executed(self) -> Executed:
        total, kinds = 0, Counter[str]()
        for (address, size), times in self._blocks.items():
            words = np.frombuffer(bytes(self._uc.mem_read(address, size)), np.uint32)
            total += times * len(words)
            for kind, codes in VECTOR_MULTIPLICATIONS.items():
                kinds[kind] += times * sum(int(np.count_nonzero(words & mask == code)) for mask, code in codes)
        return Executed(total, kinds["fmla"], kinds["sdot"], kinds["smull"])


def _kernel_tables(elf: Elf) -> dict[str, int]:
    """Where the tables of kernels lie, by instruction set: pointers, the first one to a name, the next two to code."""
    pointers = {entry.address: entry.addend for entry in elf.relocations if entry.kind == RELATIVE}
    found = {}
    for address, target in pointers.items():
        name = _text_at(elf, target)
        if name in ("neon", "neondot") and all(_is_code(elf, pointers.get(address + 8 * n)) for n in (1, 2)):
            found[name] = address
    return found


def _text_at(elf: Elf, address: int) -> str:
    for piece in elf.loaded:
        if piece.address <= address < piece.address + len(piece.content):
            start = address - piece.address
            return piece.content[start : piece.content.find(b"\0", start)].decode("ascii", "replace")
    return ""


def _is_code(elf: Elf, address: int | None) -> bool:
    return address is not None and any(
        piece.executable and piece.address <= address < piece.address + piece.size for piece in elf.loaded
    )
