"""What a board file says: a board is data, checked here, and no code asks for a board by its name."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from edgesnn.errors import BoardError

Text = Annotated[str, Field(min_length=1)]
Address = Annotated[int, Field(ge=0, lt=2**32)]
Positive = Annotated[int, Field(gt=0)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Core(_Table):
    """The processor core, e.g. Cortex-M4 with single-precision floating point."""

    name: Text
    source: Text


class Memory(_Table):
    """One contiguous memory a program may use."""

    origin: Address
    bytes: Positive
    source: Text


class Clock(_Table):
    """The core's clock as the board comes."""

    hz: Positive
    source: Text


class Toolchain(_Table):
    """How `python -m ziglang cc` compiles for the core, and the start-up code in `support/`."""

    target: Text
    cpu: Text
    flags: list[Text] = []
    startup: Text
    source: Text


class Emulator(_Table):
    """The command that runs a program for the board: `program -machine machine args... -kernel ELF`.

    For a Linux board it is `program -cpu machine args... ELF`: the processor alone is emulated, and the system is ours.
    """

    program: Text
    machine: Text
    args: list[Text] = []
    package: Text
    source: Text


#: Kind -> tables that a board of this kind must have.
_NEEDS: dict[str, tuple[str, ...]] = {
    "host": (),
    "emulated": ("flash", "ram", "clock", "toolchain", "emulator"),
    "linux": ("clock", "toolchain", "emulator"),
    "hardware": ("flash", "ram", "clock", "toolchain"),
}


class Board(_Table):
    """A device: `host` (this machine), `emulated`, `linux` (its processes run here), or `hardware` (for budgets).

    A hardware board may name the emulated board with the same core in `emulated_by`: its instruction counts hold.
    """

    id: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
    name: Text
    vendor: Text
    kind: Literal["host", "emulated", "linux", "hardware"]
    core: Core
    flash: Memory | None = None
    ram: Memory | None = None
    clock: Clock | None = None
    toolchain: Toolchain | None = None
    emulator: Emulator | None = None
    emulated_by: str | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        missing = [table for table in _NEEDS[self.kind] if getattr(self, table) is None]
        if missing:
            raise ValueError(f"a board of kind {self.kind} needs the tables {', '.join(missing)}")
        if self.emulator is not None and self.emulated_by is not None:
            raise ValueError("expected either an emulator or emulated_by, got both")
        return self

    @property
    def flash_bytes(self) -> int | None:
        """Bytes of program memory, or None where there is no budget."""
        return self.flash.bytes if self.flash else None

    @property
    def ram_bytes(self) -> int | None:
        """Bytes of data memory, or None where there is no budget."""
        return self.ram.bytes if self.ram else None

    @property
    def clock_hz(self) -> int | None:
        """Core clock in Hz, or None where it is unknown."""
        return self.clock.hz if self.clock else None


def parse(path: Path) -> Board:
    """Read one board file.

    Raises:
        BoardError: the file cannot be read or is not TOML, or a field is missing, unknown or wrong; names file and
            field.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BoardError(f"{path}: expected a TOML file, got one that does not parse ({error}); correct it") from None
    except OSError as error:
        raise BoardError(f"{path}: expected the file of a board, got {error.strerror}; check the path") from None
    try:
        board = Board.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "board"
        message = first["msg"].removeprefix("Value error, ")
        raise BoardError(f"{path}: {field}: {message}; correct the field") from None
    if board.id != path.stem:
        raise BoardError(f"{path}: id: expected {path.stem!r}, the name of the file, got {board.id!r}; rename one")
    return board
