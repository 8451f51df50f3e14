"""Generated C -> firmware for a board: cross-compiled with zig, measured, and kept beside the model by content."""

from __future__ import annotations

import hashlib
import re
import string
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from edgesnn.boards import SUPPORT, Board
from edgesnn.boards.schema import Memory
from edgesnn.errors import BackendError, BoardError, BudgetError, ModelError
from edgesnn.runtime.package import cache

#: RAM set aside for the stack, at the start of RAM so that an overflow leaves RAM; a quarter of RAM where that is less.
STACK_BYTES = 8192

# -O3 against -Os, the demo's model by `edgesnn report out/demo/model --board ID`: on mps2-an386 54.7k instructions a
# step and 26.1 KB of flash against 55.9k and 23.9 KB; on mps2-an385 83.2k against 103.1k instructions.
# zig gives -O1, -O2 and -O3 one meaning.
_FLAGS = (
    "-std=c11", "-O3", "-g", "-ffreestanding", "-fno-sanitize=undefined", "-ffunction-sections", "-fdata-sections",
    "-fno-unwind-tables", "-fno-asynchronous-unwind-tables", "-fomit-frame-pointer", "-Wall", "-Wextra", "-Wconversion",
    "-Werror", "-Wl,--gc-sections", "-Wl,-e,Reset_Handler",
)  # fmt: skip
_SUPPORT_SOURCES = ("harness.c", "stack.c")
_BARE_SOURCES = ("startup.c", "semihost.c")  # where there is no system below
_FULL = re.compile("will not fit in region")  # the linker's words
_HEAP = frozenset({"malloc", "calloc", "realloc", "free", "sbrk", "_sbrk", "aligned_alloc", "_malloc_r", "_free_r"})


@dataclass(frozen=True)
class Symbol:
    """A function or variable of the firmware."""

    name: str
    address: int
    nbytes: int


@dataclass(frozen=True)
class Firmware:
    """A linked program and what it takes.

    `flash_bytes` is what is written to flash: code, constants and the initial values of variables, the harness and
    start-up code among them. `ram_bytes` is what variables take, the arena among them, without the
    stack, for which `stack_bytes` are set aside; 0 on Linux, which makes room as needed.
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
        """Bytes of code by function name, largest first; static functions of one name are added up."""
        total: Counter[str] = Counter()
        for function in self.functions:
            total[function.name] += function.nbytes
        return dict(total.most_common())


@dataclass(frozen=True)
class Recipe:
    """How a program is compiled and linked: `digest` names everything it depends on."""

    name: str
    board: Board
    flags: tuple[str, ...]
    sources: tuple[Path, ...]
    script: str | None
    digest: str
    folder: Path

    def compiler(self, *arguments: str | Path, link: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the cross compiler with the flags and these arguments; the flags of the linker only where it links."""
        flags = [flag for flag in self.flags if link or not flag.startswith("-Wl,")]
        command = [sys.executable, "-m", "ziglang", "cc", *flags, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False)


@dataclass(frozen=True)
class _Package:
    """The sources of a generated C package: in `src/`, `NAME.h`, `NAME.c` and the runtime in `esnn/`."""

    folder: Path
    name: str
    sources: tuple[Path, ...]
    headers: tuple[Path, ...]


def _package(folder: Path) -> _Package:
    own = folder / "src"
    names = sorted(path.stem for path in own.glob("*.c") if path.with_suffix(".h").is_file())
    runtime = own / "esnn"
    if len(names) != 1 or not runtime.is_dir():
        raise ModelError(
            f"{folder}: expected in src/ one generated model NAME.c with NAME.h, and the runtime in esnn/, got "
            f"{', '.join(names) or 'no model'}; run `edgesnn export ... --format c` again"
        )
    sources = (own / f"{names[0]}.c", *sorted(runtime.rglob("*.c")))
    headers = (*sorted(own.glob("*.h")), *sorted(runtime.rglob("*.h")))
    return _Package(folder, names[0], sources, headers)


def _digest(files: Iterable[Path], words: Iterable[str]) -> str:
    """SHA-256 over everything a program depends on."""
    digest = hashlib.sha256("\0".join(words).encode())
    for path in files:
        data = path.read_bytes()
        digest.update(f"{path.name} {len(data)}\n".encode() + data)
    return digest.hexdigest()


def _linker_script(flash: Memory, ram: Memory) -> str:
    template = string.Template((SUPPORT / "firmware.ld.in").read_text(encoding="utf-8"))
    return template.substitute(
        flash_origin=hex(flash.origin),
        flash_bytes=flash.bytes,
        ram_origin=hex(ram.origin),
        ram_bytes=ram.bytes,
        stack_bytes=_stack_bytes(ram),
    )


def _stack_bytes(ram: Memory) -> int:
    return min(STACK_BYTES, ram.bytes // 4 // 8 * 8)


def check_packages() -> None:
    """Raise BackendError if a Python package that building firmware needs is not installed."""
    for needed in ("ziglang", "elftools"):
        if find_spec(needed) is None:
            raise BackendError(
                f"firmware: expected the Python package that holds {needed}, found none; pip install edgesnn[mcu]"
            )


def recipe(model_c_dir: str | Path, board: Board) -> Recipe:
    """How the firmware of a generated C package is made for a board.

    Raises:
        BoardError: the board has no toolchain (the host).
        ModelError: the folder holds no generated package.
        BackendError: ziglang is not installed.
    """
    if board.toolchain is None:
        raise BoardError(
            f"board {board.id}: expected a board with a toolchain, got one of kind {board.kind}; "
            "use the backend `native` for this machine"
        )
    check_packages()
    package = _package(Path(model_c_dir))
    chain = board.toolchain
    script = _linker_script(board.flash, board.ram) if board.flash and board.ram else None
    support = (*_SUPPORT_SOURCES, *(_BARE_SOURCES if script else ()), chain.startup)
    sources = (*package.sources, *(SUPPORT / name for name in support))
    headers = (*package.headers, *sorted(SUPPORT.glob("*.h")))
    flags = [
        *("-target", chain.target, f"-mcpu={chain.cpu}", *chain.flags, *_FLAGS),
        f'-DMODEL_HEADER="{package.name}.h"',
        f"-DMODEL={package.name}_model",
        f"-DMODEL_CONSTANT(x)={package.name.upper()}_##x",
    ]
    digest = _digest((*sources, *headers), [script or "", *flags, version("ziglang")])[:16]
    flags += [f"-I{folder}" for folder in sorted({path.parent for path in headers})]
    return Recipe(package.name, board, tuple(flags), sources, script, digest, cache(package.folder))


def build(model_c_dir: str | Path, board: Board) -> Firmware:
    """Compile a generated C package with the harness for a board; an unchanged package is not compiled again.

    Args:
        model_c_dir: the folder `c/` written by `edgesnn.export.c`.
        board: a board with a toolchain, and with a memory map unless it runs Linux.

    Returns:
        the program `.build/<board>-<hash>/firmware.elf` beside `model_c_dir`, and its sizes.

    Raises:
        BoardError: the board has no toolchain (the host).
        ModelError: the folder holds no generated package, or one that does not compile or allocates.
        BudgetError: the program does not fit the board.
        BackendError: ziglang is not installed.
    """
    made = recipe(model_c_dir, board)
    elf = made.folder / f"{board.id}-{made.digest}" / "firmware.elf"
    if not elf.is_file():
        try:
            elf.parent.mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(dir=elf.parent) as scratch:
                _link(made, Path(scratch)).replace(elf)  # atomic: others may build too
        except OSError as error:
            raise BackendError(
                f"{elf.parent}: expected to build firmware there, got {error}; check the permissions"
            ) from None
    return _measure(elf, board, made.name)


def _link(made: Recipe, scratch: Path) -> Path:
    """Run the cross compiler; the linked program."""
    program, board = scratch / "firmware.elf", made.board
    arguments: list[str | Path] = [*made.sources, "-o", program]
    if made.script is not None:
        (scratch / "firmware.ld").write_text(made.script, encoding="utf-8")
        arguments.append(f"-Wl,-T,{scratch / 'firmware.ld'}")
    done = made.compiler(*arguments)
    if done.returncode == 0:
        return program
    line = complaint(done)
    if _FULL.search(line) and board.ram:
        raise BudgetError(
            f"{made.name} on {board.id}: expected at most {board.flash_bytes} bytes of flash and {board.ram_bytes} "
            f"bytes of RAM with {_stack_bytes(board.ram)} of stack, got more ({line}); use a smaller model or another "
            "board"
        )
    raise not_compiled(made, line)


def complaint(done: subprocess.CompletedProcess[str]) -> str:
    """The line in which the compiler says what is wrong."""
    lines = done.stderr.splitlines() or ["no message"]
    return next((line for line in lines if "error" in line), lines[0]).strip()


def not_compiled(made: Recipe, line: str) -> ModelError:
    """The error of C that the compiler refuses."""
    return ModelError(
        f"{made.name}: expected C that compiles for {made.board.id}, got: {line}; correct the file or export again"
    )


def _measure(elf: Path, board: Board, name: str) -> Firmware:
    """Read sizes and symbols from a linked program.

    Raises:
        ModelError: the program holds a heap function.
    """
    from elftools.elf.elffile import ELFFile  # here, not above: the package comes with the extra `mcu`
    from elftools.elf.sections import SymbolTableSection

    with elf.open("rb") as file:
        image = ELFFile(file)
        sections = Counter({section.name: section["sh_size"] for section in image.iter_sections()})
        flash_bytes = sum(s["p_filesz"] for s in image.iter_segments() if s["p_type"] == "PT_LOAD")
        tables = [section for section in image.iter_sections() if isinstance(section, SymbolTableSection)]
        symbols = [symbol for table in tables for symbol in table.iter_symbols()]
    heap = sorted(_HEAP & {symbol.name for symbol in symbols})
    if heap:
        raise ModelError(f"{elf}: expected a program without a heap, got {', '.join(heap)}; export again")
    found: dict[str, dict[int, Symbol]] = {"STT_FUNC": {}, "STT_OBJECT": {}}
    # Aliases share an address: of their names, the last in this order stands, a plain global one.
    for symbol in sorted(symbols, key=lambda s: (s["st_info"]["bind"] == "STB_GLOBAL", "." not in s.name, s.name)):
        kind = symbol["st_info"]["type"]
        if kind in found and symbol["st_size"] > 0:
            address = symbol["st_value"] & ~1 if kind == "STT_FUNC" else symbol["st_value"]  # bit 0 says Thumb
            found[kind][address] = Symbol(symbol.name, address, symbol["st_size"])
    functions, variables = (tuple(found[kind][address] for address in sorted(found[kind])) for kind in found)
    return Firmware(
        elf=elf,
        board=board,
        model_name=name,
        flash_bytes=flash_bytes,
        ram_bytes=sections[".data"] + sections[".bss"],
        stack_bytes=sections[".stack"],
        functions=functions,
        variables=variables,
    )
