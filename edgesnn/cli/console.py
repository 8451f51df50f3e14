"""What the commands print with: results on stdout, everything about the run on stderr."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rich.console import Console
from rich.table import Table

out = Console()
err = Console(stderr=True)


def table(columns: Iterable[str], rows: Iterable[Iterable[str]], title: str | None = None, numbers: int = 0) -> Table:
    """A plain table whose last `numbers` columns are aligned to the right."""
    names = list(columns)
    result = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for at, name in enumerate(names):
        result.add_column(name, justify="right" if at >= len(names) - numbers else "left")
    for row in rows:
        result.add_row(*row)
    return result


def print_figures(figures: Mapping[str, float], title: str) -> None:
    """Print named numbers, whole ones with thousands separated."""
    out.print(table(("figure", "value"), ((key, number(value)) for key, value in figures.items()), title, numbers=1))


def print_next(text: str) -> None:
    """Print a line that ends with a command to copy: never wrapped, and as it is."""
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
