"""What the commands print with: results on stdout, everything about the run on stderr."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

out = Console()
err = Console(stderr=True)


def table(
    columns: Iterable[str], rows: Iterable[Iterable[str]], title: str | None = None, numbers: int = 0
) -> RenderableType:
    """A plain table: what is copied from it, the first column, is never cut, nor is the title above.

    The last `numbers` columns are aligned to the right.
    """
    names = list(columns)
    result = Table(box=None, pad_edge=False, header_style="bold")
    for at, name in enumerate(names):
        number = at >= len(names) - numbers
        result.add_column(name, justify="right" if number else "left", no_wrap=number or at == 0, overflow="fold")
    for row in rows:
        result.add_row(*row)
    # Rich would fit a title of the table itself into the width of its columns.
    return result if title is None else Group(Text(title, style="italic", no_wrap=True, overflow="ignore"), result)


def print_figures(figures: Mapping[str, float], title: str) -> None:
    """Print named numbers, whole ones with thousands separated."""
    out.print(table(("figure", "value"), ((key, number(value)) for key, value in figures.items()), title, numbers=1))


def print_line(text: str) -> None:
    """Print a line that holds a path or a command to copy: as it is, never wrapped."""
    out.print(text, soft_wrap=True, markup=False, highlight=False)


def number(value: float) -> str:
    """12345 -> "12,345"; 0.8931234 -> "0.8931"."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4g}"


def size(count: int | None) -> str:
    """Bytes as a person reads a data sheet: "16 KiB", "4 MiB", "1,234 B", "-" where there is no limit."""
    if count is None:
        return "-"
    for unit, name in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= unit and count * 10 % unit == 0:
            return f"{count / unit:g} {name}"
    return f"{count:,} B"
