"""When a row was sampled, and whether rows are missing before it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tick:
    """A row in time: seconds from the first row (None: neither rate nor time stamps), and the gap before it, if any."""

    seconds: float | None
    gap: float | None = None  # seconds from the row before; negative where the clock was set back


class StreamClock:
    """Gives each row its time: its time stamp, or one sample period after the row before it, and one for each lost row.

    A gap is a row more than `gap_periods` sample periods after, or before, the row before it; less is jitter. Without a
    sample rate there are no gaps.

    Args:
        rate_hz: rows a second; 0: not known.
        gap_periods: sample periods from which on a hole is a gap.
    """

    def __init__(self, rate_hz: float, gap_periods: float) -> None:
        self._rate_hz, self._gap_periods = rate_hz, gap_periods
        self._origin: float | None = None  # what a time stamp of the first row is, or would be
        self._base = 0.0  # seconds of the last row with a time stamp, or of the first row
        self._rows = -1  # rows since then; -1 before the first
        self._lost = 0

    def lose(self, rows: int) -> None:
        """So many rows were due and did not come; before the first row that means nothing."""
        if self._rows >= 0:
            self._lost += rows

    def row(self, stamp: float | None) -> Tick:
        """The next row, with its time stamp in seconds if it has one."""
        before = self.seconds
        self._rows += 1 + self._lost
        self._lost = 0
        if stamp is not None:
            if self._origin is None:
                self._origin = stamp - (self.seconds or 0.0)
            self._base, self._rows = stamp - self._origin, 0
        now = self.seconds
        if before is None or now is None:
            return Tick(now)
        passed = now - before
        is_gap = abs(passed) * self._rate_hz > self._gap_periods + 1e-6  # a sum of periods is not exact
        return Tick(now, passed if is_gap else None)

    @property
    def seconds(self) -> float | None:
        """Seconds from the first row to the last one; None before it, and where nothing tells."""
        if self._rows < 0:
            return None
        if self._rate_hz:
            return self._base + self._rows / self._rate_hz
        return None if self._origin is None else self._base

    def moment(self, stamp: float | None) -> float | None:
        """Seconds from the first row to a moment with a time stamp; without one, to the last row."""
        return self.seconds if stamp is None or self._origin is None else stamp - self._origin
