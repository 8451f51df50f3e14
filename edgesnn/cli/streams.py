"""`edgesnn run` and `edgesnn adapt`: sensor rows in, decisions out."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgesnn.cli.termination import Termination
from edgesnn.errors import ConfigError, EdgesnnError

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


#: Learning steps between two saves, unless the user says otherwise: what a power cut may cost.
SAVE_EVERY = 100


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
    save_every: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            help=f"Save after every N learning steps as well (default {SAVE_EVERY}); 0: at the end alone.",
        ),
    ] = None,
    backend: Backend = "ort",
    board: Board = None,
) -> None:
    """Predict, then learn from the label of each frame that has one; one JSON object a decision.

    What was learned is saved when the stream ends or breaks off, and on SIGTERM (status 143) and SIGINT.
    """
    from edgesnn.runtime import stream

    if save_every and state is None:
        raise ConfigError("--save-every: expected a file to save to, got none; add --state FILE")
    every = SAVE_EVERY if save_every is None else save_every
    with _open(directory, backend, board) as session, Termination() as termination:
        rows = termination.each(_rows(source, session.model))
        with closing(stream.adapt(session, rows, state, every, warn=_warn)) as decisions:
            _print(decisions, termination)


def _open(directory: Path, backend: str, board: str | None) -> Session:
    from edgesnn import runtime

    if board and backend != "board":
        raise ConfigError(f"--board: expected the backend `board`, got {backend!r}; add --backend board")
    return runtime.open(directory, backend=backend, **({"board": board} if board else {}))


def _rows(source: str, model: Model) -> Iterator[Row]:
    from edgesnn.runtime import stream

    channels = stream.row_channels(model)
    if source != "-":
        return stream.csv_file_rows(source, channels, model.classes, model.channels)
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8-sig", errors="backslashreplace", newline="")
    return stream.csv_rows(sys.stdin, channels, model.classes, "standard input", model.channels)


def _warn(message: str) -> None:
    sys.stderr.write(f"edgesnn: {message}\n")


def _print(decisions: Iterable[Decision], termination: Termination | None = None) -> None:
    """Write decisions until they end, or until nobody reads them any more."""
    for decision in decisions:
        line = json.dumps(decision.as_json()) + "\n"
        try:
            with termination.may_interrupt() if termination else nullcontext():
                sys.stdout.write(line)
                # Flushed: behind a pipe, a decision that waits for a full buffer comes minutes late.
                sys.stdout.flush()
        except BrokenPipeError:
            _discard_output()
            return
        except SystemExit:
            _discard_output()
            raise
        except OSError as error:
            _discard_output()
            raise EdgesnnError(
                f"standard output: expected to take decisions, got: {error.strerror}; free space or write elsewhere"
            ) from None


def _discard_output() -> None:
    """Let what is still buffered go nowhere: the interpreter flushes it when it ends, and would fail again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
