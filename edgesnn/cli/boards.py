"""`edgesnn boards`: what devices there are."""

from __future__ import annotations

from typing import Annotated

import typer

from edgesnn.cli.console import out, size, table


def boards(
    board: Annotated[str | None, typer.Argument(metavar="[ID]", help="Show all facts of this board.")] = None,
) -> None:
    """List the boards, or show one with the source of each fact."""
    from edgesnn.boards import available, load

    if board is None:
        entries = [load(name) for name in available()]
        rows = (
            (
                entry.id,
                entry.core.name,
                entry.kind,
                size(entry.flash_bytes),
                size(entry.ram_bytes),
                mhz(entry.clock_hz),
            )
            for entry in entries
        )
        out.print(table(("id", "core", "kind", "flash", "RAM", "clock"), rows, numbers=3))
        return
    out.print_json(load(board).model_dump_json(exclude_none=True))


def mhz(clock_hz: int | None) -> str:
    """Clock as a data sheet writes it."""
    return f"{clock_hz / 1e6:g} MHz" if clock_hz else "-"
