"""`edgesnn verify` and `edgesnn report`: what is known about an exported model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgesnn.cli.console import out, print_figures, table


def verify(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder written by `edgesnn export`.")],
    backends: Annotated[
        str | None, typer.Option(metavar="NAME,NAME", help="Backends to compare; all that the folder was exported for.")
    ] = None,
) -> None:
    """Compare every backend with the reference, bit for bit; exit with status 1 if one differs."""
    from edgesnn.runtime import verify as comparison

    names = [name.strip() for name in backends.split(",")] if backends else None
    result = comparison.verify(directory, backends=names)
    rows = (
        (check.backend, f"{check.steps:,}", f"{check.learn_steps:,}", "equal" if check.equal else check.difference)
        for check in result.checks
    )
    out.print(table(("backend", "steps", "learning steps", "against the reference"), rows))
    if not result.equal:
        raise typer.Exit(1)


def report(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder with a report.json: an export or a demo.")],
) -> None:
    """Print what is known about a model, and write it as a page."""
    from edgesnn import report as reports

    content = reports.load(directory)
    for section in ("accuracy", "bit_exact", "board", "size", "training"):
        values = getattr(content, section)
        if values is not None:
            fields = values.model_dump(by_alias=True).items()
            figures = {key: value for key, value in fields if type(value) in (int, float)}
            print_figures(figures, section)
    out.print(f"wrote {reports.write(content, directory)}")
