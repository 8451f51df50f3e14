"""A compiled object, before any link: the pieces a linker would keep or drop, what each refers to, and its stack frame.

Read from ELF as `-ffunction-sections -fdata-sections -fstack-size-section` leave it. pyelftools comes with the extra
`mcu`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

_ALLOCATED, _MERGED, _STRINGS = 0x2, 0x10, 0x20  # SHF_ALLOC, SHF_MERGE, SHF_STRINGS
_R_ARM_ABS32 = 2  # its addend is the word in place
#: Relocations of calls and jumps: R_ARM_THM_CALL, _THM_JUMP24, _THM_JUMP19; R_RISCV_BRANCH to _CALL_PLT.
_CALLS = {"EM_ARM": frozenset({10, 30, 51}), "EM_RISCV": frozenset({16, 17, 18, 19})}
_STACK_SIZES, _MERGED_GLOBALS = ".stack_sizes", "_MergedGlobals"


@dataclass
class Piece:
    """A function, a variable, or a whole section where nothing in it has a name.

    `place` is text, rodata, data, bss or vectors. `refers` are pieces, `calls` those of them that are called by name;
    `outside` are names that the object does not define; `frame_bytes` is what a function takes of the stack.
    """

    name: str
    place: str
    nbytes: int
    alignment: int
    constants: tuple[bytes, ...] = ()  # of a section in which the linker keeps equal constants once
    refers: set[int] = field(default_factory=set)
    calls: set[int] = field(default_factory=set)
    outside: set[str] = field(default_factory=set)
    frame_bytes: int = 0


@dataclass(frozen=True)
class Object:
    """The pieces of an object, in the order of the file."""

    pieces: tuple[Piece, ...]

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Piece of each name; of several static ones with a name, the last."""
        return {piece.name: number for number, piece in enumerate(self.pieces)}

    def reachable(self, roots: Iterable[int]) -> list[int]:
        """What `--gc-sections` keeps: the roots and all they refer to, in the order of the file."""
        found, left = set(roots), list(roots)
        while left:
            new = self.pieces[left.pop()].refers - found
            found |= new
            left += new
        return sorted(found)


def read(path: Path) -> Object:
    """Read an ELF relocatable object."""
    from elftools.elf.elffile import ELFFile  # here, not above: the package comes with the extra `mcu`

    with path.open("rb") as file:
        return Object(tuple(_Reader(ELFFile(file)).pieces))


class _Reader:
    def __init__(self, elf: Any) -> None:
        self._sections = list(elf.iter_sections())
        self._symbols = list(next(s for s in self._sections if s["sh_type"] == "SHT_SYMTAB").iter_symbols())
        self.pieces: list[Piece] = []
        self._starts: dict[int, list[tuple[int, int]]] = {}  # section -> (offset, piece), in order
        for index, section in enumerate(self._sections):
            if section["sh_flags"] & _ALLOCATED and section["sh_size"] and (place := _place(section)):
                self._starts[index] = list(self._cut(index, section, place))
        self._calls = _CALLS.get(elf["e_machine"], frozenset())
        for section in self._sections:
            if section["sh_type"] in ("SHT_REL", "SHT_RELA"):
                self._relocate(section)
        if elf["e_machine"] == "EM_ARM":
            self._state_frames()

    def _cut(self, index: int, section: Any, place: str) -> Iterator[tuple[int, int]]:
        """Pieces of a section: one for each name, as sections of one name were joined; but what the compiler merged
        has one fate.
        """
        named: dict[int, str] = {}
        for symbol in self._symbols if not section.name.endswith(_MERGED_GLOBALS) else ():
            if symbol["st_shndx"] == index and symbol["st_info"]["type"] in ("STT_FUNC", "STT_OBJECT"):
                named[symbol["st_value"] & ~1 if place == "text" else symbol["st_value"]] = symbol.name
        starts = [0, *sorted(set(named) - {0})]
        for start, end in zip(starts, [*starts[1:], section["sh_size"]], strict=True):
            piece = Piece(named.get(start, section.name), place, end - start, section["sh_addralign"])
            piece.constants = _constants(section) if len(starts) == 1 else ()
            self.pieces.append(piece)
            yield start, len(self.pieces) - 1

    def _at(self, section: int, offset: int | None) -> list[int]:
        """The piece at an offset; all of the section where it is unknown."""
        starts = self._starts.get(section, [])
        if offset is None or not starts:
            return [piece for _, piece in starts]
        return [starts[max(bisect_right(starts, offset, key=lambda start: start[0]) - 1, 0)][1]]

    def _relocate(self, relocations: Any) -> None:
        section = self._sections[relocations["sh_info"]]
        data = section.data() if section["sh_type"] != "SHT_NOBITS" else b""
        for entry in relocations.iter_relocations():
            symbol, offset = self._symbols[entry["r_info_sym"]], entry["r_offset"]
            targets = self._targets(symbol, _addend(entry, data))
            if section.name == _STACK_SIZES:
                for target in targets:
                    self.pieces[target].frame_bytes = _uleb128(data, offset + 4)
            for source in self._at(relocations["sh_info"], offset):
                self.pieces[source].refers.update(targets)
                self.pieces[source].calls.update(targets if entry["r_info_type"] in self._calls else ())
                if symbol["st_shndx"] == "SHN_UNDEF" and symbol.name:
                    self.pieces[source].outside.add(symbol.name)

    def _targets(self, symbol: Any, addend: int | None) -> list[int]:
        if not isinstance(symbol["st_shndx"], int):
            return []
        if symbol["st_info"]["type"] != "STT_SECTION":
            return self._at(symbol["st_shndx"], symbol["st_value"] & ~1 if _is_function(symbol) else symbol["st_value"])
        return self._at(symbol["st_shndx"], addend)

    def _state_frames(self) -> None:
        """Frames of functions for which the compiler states none, as they are written in assembly: what they push."""
        for index, starts in self._starts.items():
            data = self._sections[index].data()
            for start, number in starts:
                piece = self.pieces[number]
                if piece.place == "text" and piece.frame_bytes == 0:
                    piece.frame_bytes = pushed_bytes(data[start : start + piece.nbytes])


def pushed_bytes(code: bytes) -> int:
    """Bytes that all instructions of Thumb code push or take off the stack pointer (Armv7-M ARM, A7.7)."""
    words = [int.from_bytes(code[at : at + 2], "little") for at in range(0, len(code) - 1, 2)]
    total = at = 0
    while at < len(words):
        first, second = words[at], words[at + 1] if at + 1 < len(words) else 0
        if first & 0xFE00 == 0xB400:  # PUSH
            total += 4 * (first & 0x1FF).bit_count()
        elif first & 0xFF80 == 0xB080:  # SUB SP, SP, #imm
            total += 4 * (first & 0x7F)
        elif first == 0xE92D:  # PUSH.W
            total += 4 * second.bit_count()
        elif first & 0xFFBF == 0xED2D:  # VPUSH
            total += 4 * (second & 0xFF)
        at += 2 if first >> 11 in (0b11101, 0b11110, 0b11111) else 1
    return total


def _is_function(symbol: Any) -> bool:
    return symbol["st_info"]["type"] == "STT_FUNC"


def _place(section: Any) -> str | None:
    """Where boards/support/firmware.ld.in puts a section; None where it is discarded."""
    kinds = {".vectors": "vectors", ".text": "text", ".rodata": "rodata", ".srodata": "rodata",
             ".data": "data", ".sdata": "data", ".bss": "bss", ".sbss": "bss"}  # fmt: skip
    return kinds.get("." + section.name.split(".")[1] if section.name.startswith(".") else section.name)


def _constants(section: Any) -> tuple[bytes, ...]:
    flags, size = section["sh_flags"], section["sh_entsize"]
    if not flags & _MERGED:
        return ()
    data = section.data()
    if flags & _STRINGS:
        return tuple(text + b"\0" for text in data.split(b"\0")[:-1])
    return tuple(data[at : at + size] for at in range(0, len(data), size))


def _addend(entry: Any, data: bytes) -> int | None:
    if "r_addend" in entry.entry:
        return int(entry["r_addend"])
    at = entry["r_offset"]
    return int.from_bytes(data[at : at + 4], "little") if entry["r_info_type"] == _R_ARM_ABS32 else None


def _uleb128(data: bytes, at: int) -> int:
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        if data[at] < 0x80:
            return value
        at, shift = at + 1, shift + 7
