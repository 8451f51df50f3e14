"""Generated C -> firmware for a board: cross-compiled with zig, measured, and kept beside the model by content."""

from __future__ import annotations

import hashlib
import os
import string
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from edgesnn.boards import SUPPORT, Board
from edgesnn.errors import BackendError, BoardError, BudgetError, ModelError

#: RAM set aside for the stack, at the start of RAM so that an overflow leaves RAM.
STACK_BYTES = 8192

_FLAGS = (
    "-std=c11", "-O3", "-g", "-ffreestanding", "-fno-sanitize=undefined", "-ffunction-sections", "-fdata-sections",
    "-fno-unwind-tables", "-fno-asynchronous-unwind-tables", "-Wall", "-Wextra", "-Wconversion", "-Werror",
    "-Wl,--gc-sections", "-Wl,-e,Reset_Handler",
)  # fmt: skip
_SUPPORT_SOURCES = ("harness.c", "semihost.c")
_HEAP = frozenset({"malloc", "calloc", "realloc", "free", "sbrk", "_sbrk", "aligned_alloc", "_malloc_r", "_free_r"})


@dataclass(frozen=True)
class Symbol:
    """A function or variable of the firmware."""

    name: str
    address: int
    nbytes: int
    section: str


@dataclass(frozen=True)
class Firmware:
    """A linked program and what it takes.

    `flash_bytes` is what is written to flash: code, constants and the initial values of variables. `ram_bytes` is
    what variables take (the arena among them), without the stack, of which `stack_bytes` are set aside.
    """

    elf: Path
    board: Board
    model_name: str
    flash_bytes: int
    ram_bytes: int
    stack_bytes: int
    functions: tuple[Symbol, ...]
    variables: tuple[Symbol, ...]

    @property
    def code_bytes(self) -> dict[str, int]:
        """Bytes of code by function, largest first."""
        return {f.name: f.nbytes for f in sorted(self.functions, key=lambda f: (-f.nbytes, f.name))}


@dataclass(frozen=True)
class _Package:
    """The sources of a generated C package: `NAME.h`, `NAME.c` and the runtime in `esnn/`."""

    folder: Path
    name: str
    sources: tuple[Path, ...]
    headers: tuple[Path, ...]


def _package(folder: Path) -> _Package:
    names = sorted(path.stem for path in folder.glob("*.c") if path.with_suffix(".h").is_file())
    runtime = folder / "esnn"
    if len(names) != 1 or not runtime.is_dir():
        raise ModelError(f"{folder}: expected one generated model NAME.c with NAME.h, and the runtime in esnn/, got "
                         f"{', '.join(names) or 'no model'}; run `edgesnn export ... --format c` again")
    sources = (folder / f"{names[0]}.c", *sorted(runtime.rglob("*.c")))
    headers = (*sorted(folder.glob("*.h")), *sorted(runtime.rglob("*.h")))
    return _Package(folder, names[0], sources, headers)


def _digest(package: _Package, board: Board, flags: list[str]) -> str:
    """SHA-256 over everything the program depends on."""
    digest = hashlib.sha256()
    support = sorted(path for path in SUPPORT.iterdir() if path.is_file())
    for path in (*package.sources, *package.headers, *support):
        data = path.read_bytes()
        digest.update(f"{path.name} {len(data)}\n".encode() + data)
    digest.update("\n".join([board.model_dump_json(), *flags, _zig_version()]).encode())
    return digest.hexdigest()


def _zig_version() -> str:
    if find_spec("ziglang") is None:
        raise BackendError("firmware: expected the cross compiler of the Python package ziglang, found none; "
                           "pip install edgesnn[mcu]")
    from importlib.metadata import version

    return version("ziglang")


def _linker_script(board: Board) -> str:
    assert board.flash is not None and board.ram is not None
    template = string.Template((SUPPORT / "firmware.ld.in").read_text(encoding="utf-8"))
    return template.substitute(
        flash_origin=hex(board.flash.origin), flash_bytes=board.flash.bytes,
        ram_origin=hex(board.ram.origin), ram_bytes=board.ram.bytes, stack_bytes=STACK_BYTES,
    )  # fmt: skip


def build(model_c_dir: str | Path, board: Board) -> Firmware:
    """Compile a generated C package with the harness for a board; an unchanged package is not compiled again.

    Args:
        model_c_dir: the folder `c/` written by `edgesnn.export.c`.
        board: a board with a toolchain and a memory map.

    Returns:
        the program `model_c_dir/build/<board>-<hash>/firmware.elf` and its sizes.

    Raises:
        BoardError: the board has no toolchain (the host).
        ModelError: the folder holds no generated package, or one that does not compile or allocates.
        BudgetError: the program does not fit the board.
        BackendError: ziglang is not installed.
    """
    if board.toolchain is None:
        raise BoardError(f"board {board.id}: expected a board with a toolchain, got one of kind {board.kind}; "
                         "use the backend `native` for this machine")
    package = _package(Path(model_c_dir))
    chain = board.toolchain
    flags = [
        "-target", chain.target, f"-mcpu={chain.cpu}", *chain.flags, *_FLAGS,
        f'-DMODEL_HEADER="{package.name}.h"', f"-DMODEL={package.name}_model",
        f"-DMODEL_CONSTANT(x)={package.name.upper()}_##x",
    ]  # fmt: skip
    folder = package.folder / "build" / f"{board.id}-{_digest(package, board, flags)[:16]}"
    elf = folder / "firmware.elf"
    if not elf.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        _compile(package, board, flags, elf)
    return _measure(elf, board, package.name)


def _compile(package: _Package, board: Board, flags: list[str], elf: Path) -> None:
    assert board.toolchain is not None
    includes = sorted({header.parent for header in package.headers} | {SUPPORT})
    support = [SUPPORT / name for name in (*_SUPPORT_SOURCES, board.toolchain.startup)]
    with TemporaryDirectory(dir=elf.parent) as scratch:
        script, out = Path(scratch) / "firmware.ld", Path(scratch) / "firmware.elf"
        script.write_text(_linker_script(board), encoding="utf-8")
        command = [
            sys.executable, "-m", "ziglang", "cc", *flags, *(f"-I{path}" for path in includes),
            *map(str, (*package.sources, *support)), f"-Wl,-T,{script}", "-o", str(out),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            lines = [line for line in done.stderr.splitlines() if "error" in line or "is full" in line]
            line = (lines or done.stderr.splitlines() or ["no message"])[0]
            if "is full" in line or "will not fit" in line:
                raise BudgetError(f"{package.name} on {board.id}: expected at most {board.flash_bytes} bytes of flash and "
                                  f"{board.ram_bytes} of RAM, got more ({line.strip()}); use a smaller model or board")
            raise ModelError(f"{package.folder}: expected C that compiles for {board.id}, got: {line.strip()}; "
                             "export again with this version")
        os.replace(out, elf)


def _measure(elf: Path, board: Board, name: str) -> Firmware:
    """Read sizes and symbols from a linked program.

    Raises:
        ModelError: the program holds a heap function.
    """
    with elf.open("rb") as file:
        image = ELFFile(file)
        sections = list(image.iter_sections())
        segments = [s for s in image.iter_segments() if s["p_type"] == "PT_LOAD"]
        flash_bytes = sum(s["p_filesz"] for s in segments)
        sizes = {s.name: s["sh_size"] for s in sections}
        table = next(s for s in sections if isinstance(s, SymbolTableSection))
        functions, variables = [], []
        for symbol in table.iter_symbols():
            kind, index = symbol["st_info"]["type"], symbol["st_shndx"]
            if symbol.name in _HEAP:
                raise ModelError(f"{elf}: expected no heap, got the symbol {symbol.name}; export again")
            if kind == "STT_FUNC" and isinstance(index, int):  # bit 0 of a Thumb address is not part of it
                functions.append(Symbol(symbol.name, symbol["st_value"] & ~1, symbol["st_size"], sections[index].name))
            elif kind == "STT_OBJECT" and isinstance(index, int):
                variables.append(Symbol(symbol.name, symbol["st_value"], symbol["st_size"], sections[index].name))
    return Firmware(
        elf, board, name, flash_bytes, sizes.get(".data", 0) + sizes.get(".bss", 0), sizes[".stack"],
        tuple(sorted(functions, key=lambda f: f.address)), tuple(sorted(variables, key=lambda v: v.address)),
    )  # fmt: skip
