"""`edgesnn run` and `edgesnn adapt`: sensor rows in, decisions out."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgesnn.cli import console
from edgesnn.cli.stream_output import JsonLines, ReaderLeftError, summary, troubles, warn
from edgesnn.cli.termination import Termination
from edgesnn.errors import ConfigError

if TYPE_CHECKING:
    from edgesnn.runtime.session import Session
    from edgesnn.runtime.sources import Item
    from edgesnn.runtime.stream import Counts, Decision

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder written by `edgesnn export`.")]
Source = Annotated[
    str,
    typer.Option(
        metavar="FILE|-|serial:PORT?baud=N",
        help="CSV: a header, one row a sample, columns `label` and `t` if known; - is standard input.",
    ),
]
Backend = Annotated[str, typer.Option(metavar="NAME", help="reference, ort, tvm, native or board.")]
Board = Annotated[str | None, typer.Option(metavar="ID", help="Board of the backend `board`.")]
OnGap = Annotated[
    str,
    typer.Option(
        metavar="reset|hold|continue",
        help="After a gap: start from rest; keep the states but begin a new frame; or go on as if there were none.",
    ),
]
GapPeriods = Annotated[
    float | None,
    typer.Option(metavar="N", help="Sample periods from which on a hole is a gap (default: those of one frame)."),
]
LateSeconds = Annotated[
    float, typer.Option(metavar="S", help="How far back a label with `label_seconds` may reach; takes memory.")
]
StuckSeconds = Annotated[
    float, typer.Option(metavar="S", help="A channel at one value for longer is stuck; 0: it may be constant.")
]
ShowLive = Annotated[
    bool | None,
    typer.Option(
        "--live/--no-live",
        help="Show the stream on standard error (default: if that is a terminal and standard output is none).",
    ),
]

#: Learning steps between two saves, unless the user says otherwise: what a power cut may cost.
SAVE_EVERY = 100


def run(
    directory: Folder,
    source: Source = "-",
    state: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Decide with what `adapt` learned and saved here.")
    ] = None,
    backend: Backend = "ort",
    board: Board = None,
    on_gap: OnGap = "reset",
    gap_periods: GapPeriods = None,
    late_seconds: LateSeconds = 0.0,
    stuck_seconds: StuckSeconds = 10.0,
    live: ShowLive = None,
) -> None:
    """Stream sensor rows through a model; one JSON object a decision, and one an event."""
    from edgesnn.runtime import stream

    policy = stream.Policy(on_gap, gap_periods, late_seconds, stuck_seconds)
    with _open(directory, source, backend, board, live) as (session, items, shown):
        if state is not None and (notice := stream.resume(session, state)):
            warn(notice)
        shown.follow(stream.run(session, items, policy, shown.lines.write, shown.counts))


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
    on_gap: OnGap = "reset",
    gap_periods: GapPeriods = None,
    late_seconds: LateSeconds = 0.0,
    stuck_seconds: StuckSeconds = 10.0,
    live: ShowLive = None,
) -> None:
    """Predict, then learn from the label of each frame that has one; one JSON object a decision, and one an event.

    What was learned is saved when the stream ends or breaks off, and on SIGTERM (status 143) and SIGINT.
    """
    from edgesnn.runtime import stream

    if save_every and state is None:
        raise ConfigError("--save-every: expected a file to save to, got none; add --state FILE")
    every = SAVE_EVERY if save_every is None else save_every
    policy = stream.Policy(on_gap, gap_periods, late_seconds, stuck_seconds)
    with _open(directory, source, backend, board, live) as (session, items, shown):
        shown.follow(stream.adapt(session, items, state, every, warn, policy, shown.lines.write, shown.counts))


@dataclass(frozen=True)
class _Shown:
    """Where a stream is shown: as JSON lines, and perhaps on the terminal."""

    lines: JsonLines
    counts: Counts
    live: bool

    def follow(self, decisions: Generator[Decision, None, None]) -> None:
        """Write decisions until they end, or until nobody reads them any more."""
        from edgesnn.cli.live_view import LiveView

        with ExitStack() as stack:
            view = stack.enter_context(LiveView(console.err, self.counts)) if self.live else None
            stack.enter_context(closing(decisions))  # what was learned is saved before anything else ends
            try:
                for decision in decisions:
                    self.lines.write(decision.as_json())
                    if view:
                        view.show(decision)
            except ReaderLeftError:
                return


@contextmanager
def _open(
    directory: Path, source: str, backend: str, board: str | None, live: bool | None
) -> Iterator[tuple[Session, Iterator[Item], _Shown]]:
    """A session, the items of its source, and where to show the stream, whose summary comes last."""
    from edgesnn import runtime
    from edgesnn.runtime import sources, stream

    if board and backend != "board":
        raise ConfigError(f"--board: expected the backend `board`, got {backend!r}; add --backend board")
    wanted = sys.stderr.isatty() and not sys.stdout.isatty() if live is None else live
    counts = stream.Counts()
    with (
        runtime.open(directory, backend=backend, **({"board": board} if board else {})) as session,
        Termination() as termination,
        closing(sources.open_source(source, session.model)) as items,
    ):
        try:
            yield session, termination.each(items), _Shown(JsonLines(termination), counts, wanted)
        finally:
            if counts.rows and (wanted or troubles(counts) or counts.guard or sys.stderr.isatty()):
                warn(summary(counts))
