"""`edgesnn run` and `edgesnn adapt`: sensor rows in, decisions out."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgesnn.errors import ConfigError

if TYPE_CHECKING:
    from edgesnn.runtime.model import Model
    from edgesnn.runtime.session import Session
    from edgesnn.runtime.stream import Decision, Row

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder written by `edgesnn export`.")]
Source = Annotated[
    str,
    typer.Option(
        metavar="FILE|-", help="CSV: a header, one row a sample, a column `label` if known; - is standard input."
    ),
]
Backend = Annotated[str, typer.Option(metavar="NAME", help="reference, ort, tvm, native or board.")]
Board = Annotated[str | None, typer.Option(metavar="ID", help="Board of the backend `board`.")]


def run(directory: Folder, source: Source = "-", backend: Backend = "ort", board: Board = None) -> None:
    """Stream sensor rows through a model; one JSON object a decision."""
    from edgesnn.runtime import stream

    with _open(directory, backend, board) as session:
        _print(stream.run(session, _rows(source, session.model)))


def adapt(
    directory: Folder,
    source: Source = "-",
    state: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Continue from this file if it exists, and save what was learned."),
    ] = None,
    save_every: Annotated[int, typer.Option(min=0, metavar="N", help="Save after every N learning steps as well.")] = 0,
    backend: Backend = "ort",
    board: Board = None,
) -> None:
    """Predict, then learn from the label of each frame that has one; one JSON object a decision."""
    from edgesnn.runtime import stream

    if save_every and state is None:
        raise ConfigError("--save-every: expected a file to save to, got none; add --state FILE")
    with (
        _open(directory, backend, board) as session,
        closing(stream.adapt(session, _rows(source, session.model), state, save_every)) as decisions,
    ):
        _print(decisions)


def _open(directory: Path, backend: str, board: str | None) -> Session:
    from edgesnn import runtime

    if board and backend != "board":
        raise ConfigError(f"--board: expected the backend `board`, got {backend!r}; add --backend board")
    return runtime.open(directory, backend=backend, **({"board": board} if board else {}))


def _rows(source: str, model: Model) -> Iterator[Row]:
    from edgesnn.runtime import stream

    channels = stream.row_channels(model)
    if source != "-":
        return stream.csv_file_rows(source, channels, model.classes)
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8-sig", errors="backslashreplace", newline="")
    return stream.csv_rows(sys.stdin, channels, model.classes, "standard input")


def _print(decisions: Iterable[Decision]) -> None:
    for decision in decisions:
        # Flushed: behind a pipe, a decision that waits for a full buffer comes minutes late.
        sys.stdout.write(json.dumps(decision.as_json()) + "\n")
        sys.stdout.flush()
