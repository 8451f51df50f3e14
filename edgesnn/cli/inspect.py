"""`edgesnn verify` and `edgesnn report`: what is known about an exported model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgesnn.cli.console import out, print_figures


def report(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder with a report.json: an export or a demo.")],
) -> None:
    """Print what is known about a model, and write it as a page."""
    from edgesnn import report as reports

    content = reports.load(directory)
    for section in ("accuracy", "bit_exact", "board", "size", "training"):
        values = getattr(content, section)
        if values is not None:
            numbers = {
                key: value
                for key, value in values.model_dump(by_alias=True).items()
                if isinstance(value, int | float) and not isinstance(value, bool)
            }
            print_figures(numbers, section)
    out.print(f"wrote {reports.write(content, directory)}")
