"""What a firmware will take of a board, known before it is linked: flash, RAM, and the stack of every call.

The sources are compiled for the core, not linked. What a linker would keep is laid out as boards/support/firmware.ld.in
says; the stack is the deepest path of the call graph, each function's frame as the compiler states it. Functions of the
compiler's own library (memcpy, division) are measured once a core in a program that holds nothing else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from edgesnn.boards import Board
from edgesnn.errors import BackendError, BoardError, ModelError
from edgesnn.runtime.firmware import Recipe, complaint, not_compiled, recipe
from edgesnn.runtime.objects import Object, Piece, read

#: The two calls through a pointer that the runtime makes into a model: esnn_model.step and .learn.
_INDIRECT = {"esnn_step": "step", "esnn_learn": "learn"}
_CALLS = ("esnn_init", "esnn_step", "esnn_learn", "esnn_reset", "esnn_save", "esnn_load", "esnn_flash_save",
          "esnn_flash_load")  # fmt: skip
_ENTRY, _VECTORS = "Reset_Handler", "vectors"
#: Frame of a library function that does not state one: written in assembly, it saves a few registers at most.
_UNSTATED_FRAME_BYTES = 32
_STUB = f"void {_ENTRY}(void);\nvoid {_ENTRY}(void) {{\n    for (;;) {{\n    }}\n}}\n"


@dataclass(frozen=True)
class Prediction:
    """Bytes of a firmware that was not linked, as `Firmware` counts them.

    `stack_bytes` bounds the whole program from reset on, `call_stack_bytes` each public call, without what functions of
    the application (reading and writing storage) take.
    """

    flash_bytes: int
    ram_bytes: int
    stack_bytes: int
    call_stack_bytes: dict[str, int]


def predict(model_c_dir: str | Path, board: Board) -> Prediction:
    """What a generated C package will take of a board; kept beside the firmware, by content.

    Args:
        model_c_dir: the folder `c/` written by `edgesnn.export.c`.
        board: a board with a toolchain and a memory map.

    Raises:
        BoardError: the board has no memory map: this machine, or Linux, which makes room as needed.
        ModelError: the folder holds no generated package, or one that does not compile, or that calls itself.
        BackendError: ziglang is not installed.
    """
    made = recipe(model_c_dir, board) if board.flash and board.ram else None
    if made is None:
        raise BoardError(
            f"board {board.id}: expected a board with flash and RAM, got one of kind {board.kind}; "
            "choose a microcontroller"
        )
    kept = made.folder / f"{board.id}-{made.digest}" / f"prediction-{version('edgesnn')}.json"
    try:
        if not kept.is_file():
            kept.parent.mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(dir=kept.parent) as scratch:
                result = Path(scratch) / kept.name
                result.write_text(json.dumps(asdict(_predict(made, Path(scratch)))), encoding="utf-8")
                result.replace(kept)  # atomic: others may predict too
        return Prediction(**json.loads(kept.read_text(encoding="utf-8")))
    except OSError as error:
        raise BackendError(f"{kept.parent}: expected to compile there, got {error}; check the permissions") from None


def _predict(made: Recipe, scratch: Path) -> Prediction:
    compiled = scratch / "all.o"
    done = made.compiler("-fstack-size-section", "-c", *made.sources, "-o", compiled, link=False)
    if done.returncode != 0:
        raise not_compiled(made, complaint(done))
    whole = read(compiled)
    roots = [number for number, piece in enumerate(whole.pieces) if piece.name == _ENTRY or piece.place == _VECTORS]
    kept = [whole.pieces[number] for number in whole.reachable(roots)]
    library = _library(made, _outside(made, kept), scratch)
    everything = _library(made, _outside(made, whole.pieces), scratch)
    stack = _Stack(whole, everything.stack_bytes, frozenset(_outside(made, whole.pieces)), made.name)
    return Prediction(
        flash_bytes=_laid_out(kept, (_VECTORS, "text")) + library.flash_bytes
        + _laid_out(kept, ("rodata",)) + _laid_out(kept, ("data",)),
        ram_bytes=_laid_out(kept, ("data",)) + _laid_out(kept, ("bss",)),
        stack_bytes=stack.deepest(_ENTRY),
        call_stack_bytes={name: stack.deepest(name) for name in _CALLS},
    )  # fmt: skip


def _laid_out(pieces: Iterable[Piece], places: tuple[str, ...]) -> int:
    """Bytes of the pieces of an output section, one after the other; equal mergeable constants once."""
    end, seen = 0, set[bytes]()
    for place in places:
        for piece in pieces:
            if piece.place == place:
                new = [constant for constant in dict.fromkeys(piece.constants) if constant not in seen]
                seen.update(new)
                end = _up(end, piece.alignment) + (sum(map(len, new)) if piece.constants else piece.nbytes)
    return _up(end, 4)


def _up(offset: int, alignment: int) -> int:
    return -(-offset // alignment) * alignment


class _Stack:
    """Deepest paths of the call graph."""

    def __init__(self, whole: Object, library_bytes: int, library: frozenset[str], model: str) -> None:
        self._whole, self._library_bytes, self._library, self._model = whole, library_bytes, library, model
        self._known: dict[int, int] = {}

    def deepest(self, name: str) -> int:
        """Bytes of stack of a call of this function."""
        return self._deepest(self._whole.numbers[name], ())

    def _deepest(self, number: int, path: tuple[int, ...]) -> int:
        """A function whose address is taken may be called from anywhere below the one that takes it, so its stack
        comes on top of the deepest call by name. That may add paths and misses none but a function's call of itself,
        for which no relocation is left; tests of the C show that there is none.
        """
        piece = self._whole.pieces[number]
        if number in path:
            raise ModelError(
                f"{self._model}: expected C without recursion, got {piece.name}, which calls itself; export again"
            )
        if number not in self._known:
            called = piece.calls - {number}
            if (through := self._whole.numbers.get(_INDIRECT.get(piece.name, ""))) is not None:
                called.add(through)
            taken = (
                {other for other in piece.refers if self._whole.pieces[other].place == "text"} - piece.calls - {number}
            )
            below, above = ([self._deepest(other, (*path, number)) for other in some] for some in (called, taken))
            library = self._library_bytes if piece.outside & self._library else 0
            self._known[number] = piece.frame_bytes + max([library, *below]) + max(above, default=0)
        return self._known[number]


@dataclass(frozen=True)
class _Library:
    flash_bytes: int
    stack_bytes: int


def _outside(made: Recipe, pieces: Iterable[Piece]) -> list[str]:
    """Names that the compiler's library has to define: the others are of the linker script."""
    missing = {name for piece in pieces for name in piece.outside}
    return sorted(name for name in missing if name not in (made.script or ""))


def _library(made: Recipe, names: list[str], scratch: Path) -> _Library:
    """Bytes of library functions and of all their frames together, from a program that holds nothing else."""
    if not names:
        return _Library(0, 0)
    key = hashlib.sha256("\0".join([*made.flags, version("ziglang"), *names]).encode()).hexdigest()[:16]
    kept = made.folder / f"library-{key}.json"
    if not kept.is_file():
        stub, script, program = scratch / "stub.c", scratch / "stub.ld", scratch / "stub.elf"
        stub.write_text(_STUB, encoding="utf-8")
        script.write_text(made.script or "", encoding="utf-8")
        wanted = [f"-Wl,-u,{name}" for name in names]
        done = made.compiler(stub, *wanted, f"-Wl,-T,{script}", "-o", program)
        if done.returncode != 0:
            raise not_compiled(made, complaint(done))
        (scratch / kept.name).write_text(json.dumps(asdict(_measure(program))), encoding="utf-8")
        (scratch / kept.name).replace(kept)
    return _Library(**json.loads(kept.read_text(encoding="utf-8")))


def _measure(program: Path) -> _Library:
    from elftools.dwarf.callframe import FDE
    from elftools.elf.elffile import ELFFile
    from elftools.elf.sections import SymbolTableSection

    with program.open("rb") as file:
        elf = ELFFile(file)
        flash_bytes = sum(s["p_filesz"] for s in elf.iter_segments() if s["p_type"] == "PT_LOAD")
        tables = [section for section in elf.iter_sections() if isinstance(section, SymbolTableSection)]
        symbols = [s for table in tables for s in table.iter_symbols() if s["st_info"]["type"] == "STT_FUNC"]
        own = max(s["st_size"] for s in symbols if s.name == _ENTRY)
        functions = {s["st_value"] & ~1 for s in symbols if s.name != _ENTRY}
        dwarf = elf.get_dwarf_info()
        entries = [e for e in (dwarf.CFI_entries() if dwarf.has_CFI() else ()) if isinstance(e, FDE)]
        frames = {
            entry["initial_location"] & ~1: max(
                (row["cfa"].offset or 0 for row in entry.get_decoded().table), default=0
            )
            for entry in entries
            if entry["initial_location"] & ~1 in functions
        }
    return _Library(flash_bytes - own, sum(frames.get(at, _UNSTATED_FRAME_BYTES) for at in functions))
