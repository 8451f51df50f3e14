"""The live view of a stream: what it says now, how sure it is, and what went wrong so far."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from edgesnn.cli.stream_output import guard_words, troubles

if TYPE_CHECKING:
    from edgesnn.runtime.stream import Counts, Decision

REFRESHES_A_SECOND = 4
RATE_SECONDS = 1.0  # rows are counted over so long at least
LOGIT_UNIT = 2.0**-10  # nat


def confidence(logits: list[int]) -> tuple[float, float]:
    """Softmax probability of the largest logit, and its lead over the second; logits in units of 2^-10 nat."""
    first, *rest = sorted(logits, reverse=True)
    weights = [math.exp((value - first) * LOGIT_UNIT) for value in (first, *rest)]
    total = sum(weights)
    return 1 / total, (1 - (weights[1] if rest else 0.0)) / total


class LiveView:
    """Shows the latest decision, redrawn in a thread of its own a few times a second; a context manager.

    Args:
        console: where to draw.
        counts: of the stream, which keeps them up to date.
        clock: seconds that never go back.
    """

    def __init__(self, console: Console, counts: Counts, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._counts, self._clock = console, counts, clock
        self._since, self._rows_then, self._rate = clock(), 0, 0.0
        self._latest: Decision | None = None
        self._live = Live(
            console=console, get_renderable=self.render, refresh_per_second=REFRESHES_A_SECOND,
            redirect_stdout=False, redirect_stderr=False,
        )  # fmt: skip

    def show(self, decision: Decision) -> None:
        """Take the next decision."""
        self._latest = decision

    def render(self) -> RenderableType:
        """What is drawn now."""
        counts, decision = self._counts, self._latest
        self._measure_rate()
        at = "" if decision is None or decision.seconds is None else f"{decision.seconds:,.1f} s   "
        line = f"{at}{counts.rows:,} rows   {self._rate:,.1f} rows/s"
        if counts.accuracy is not None:
            line += f"   accuracy {counts.accuracy:.3f} of {counts.labelled:,}"
        wrong = ", ".join(troubles(counts))
        return Group(
            Text("waiting for the first frame") if decision is None else _bar(decision),
            Text(line),
            *([Text(guard_words(counts.guard))] if counts.guard else []),
            Text(wrong or "no drops, no gaps", style="yellow" if wrong else "dim"),
        )

    def _measure_rate(self) -> None:
        now = self._clock()
        passed = now - self._since
        if passed >= RATE_SECONDS:
            self._rate = (self._counts.rows - self._rows_then) / passed
            self._since, self._rows_then = now, self._counts.rows

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()
        if not self._console.is_terminal:
            self._console.line()  # what comes next starts a line of its own


def _bar(decision: Decision) -> RenderableType:
    """The class that was decided, how sure that is, and by how much before the next."""
    sure, lead = confidence(decision.logits)
    bar = Table.grid(padding=(0, 1))
    bar.add_row(
        Text(decision.name, style="bold"), ProgressBar(total=1, completed=sure, width=30),
        f"{sure:.0%}", f"margin {lead:.0%}",
    )  # fmt: skip
    return bar
