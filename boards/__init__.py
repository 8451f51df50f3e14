"""What devices there are: one TOML file a board, and the support code that firmware for it needs.

A board is data. Add a file, and every command knows it.
"""

from __future__ import annotations

from pathlib import Path

from edgesnn.boards.schema import Board, parse
from edgesnn.errors import BoardError

__all__ = ["SUPPORT", "Board", "available", "load"]

_FOLDER = Path(__file__).parent

#: Start-up code, linker script template, semihosting and system calls, harness and emulator plugin.
SUPPORT = _FOLDER / "support"


def available() -> list[str]:
    """The ids of all boards, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def load(board: str) -> Board:
    """The board with this id, or the one that a file of one's own describes (docs/boards.md).

    Args:
        board: an id of `available`, or the path of a file that ends in `.toml`.

    Raises:
        BoardError: there is none, or its file is not valid.
    """
    if board.endswith(".toml"):
        return parse(Path(board))
    if board not in available():
        raise BoardError(
            f"board: expected one of {', '.join(available())}, or a file that ends in .toml, got {board!r}; "
            "choose one of them"
        )
    return parse(_FOLDER / f"{board}.toml")
