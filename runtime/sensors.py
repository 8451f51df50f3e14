"""What is wrong with a sensor: values that are missing, saturated, or have not moved for too long."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from edgesnn.errors import DataError
from edgesnn.runtime.csv_table import FLOAT32_MAX
from edgesnn.runtime.framing import row_channels
from edgesnn.runtime.model import Array, Model

#: `silent`: no value for longer than a gap; `stuck`: the same value for too long; `recovered` from either.
Trouble = Literal["silent", "stuck", "recovered"]


@dataclass(frozen=True, slots=True)
class Checked:
    """A row fit for a frame (None: no value in it was usable), and how many of its values were not as they came."""

    values: Array | None
    missing: int
    saturated: int


class Sensors:
    """Checks rows and mends them.

    A missing value (NaN, infinite, or beyond 32-bit floats) is the channel's last value, or its mean in training before
    it has one. After `gap_rows` rows without a value the channel is *silent*, and stays at its mean until it speaks. A
    channel is *stuck* that has had one and the same value for more than `stuck_rows` rows. A value is *saturated* that
    lies outside what the integers of the model's input can say.

    Keeps five numbers a channel.

    Args:
        model: its channels, normalization and integers.
        gap_rows: rows without a value from which on a channel is silent.
        stuck_rows: rows without a change from which on a channel is stuck; 0: never.
    """

    def __init__(self, model: Model, gap_rows: float, stuck_rows: int) -> None:
        spec = model.input
        count = row_channels(model)
        # Statistics stand on the last axis of a row, on the first of an image.
        repeat = count // len(spec.mean)
        self._mean, std = (np.repeat(np.asarray(part, np.float64), repeat) for part in (spec.mean, spec.std))
        limits = np.iinfo(spec.dtype)
        unit = std * spec.scale
        # Halves are rounded to even: the lowest, an even number, takes its half, the highest, an odd one, does not.
        self._low, self._high = self._mean + (limits.min - 0.5) * unit, self._mean + (limits.max + 0.5) * unit
        self._count, self._gap_rows, self._stuck_rows = count, gap_rows, stuck_rows or math.inf
        self._last = self._mean.copy()
        self._quiet = np.zeros(count, np.int64)  # rows since the channel's last value
        self._still = np.zeros(count, np.int64)  # rows since its value changed
        self._troubled = np.zeros(count, np.bool_)
        self._names: Sequence[str] = model.channels or [str(at) for at in range(count)]

    def check(self, values: Sequence[float] | Array) -> Checked:
        """Take the next row.

        Raises:
            DataError: it has another number of channels.
        """
        row = np.array(values, np.float64)  # a copy: a driver may fill the same buffer again
        if row.shape != (self._count,):
            raise DataError(f"row: expected {self._count} channels, got shape {row.shape}; see the model's metadata")
        known = np.abs(row) <= FLOAT32_MAX
        missing = self._count - int(np.count_nonzero(known))
        if missing == self._count:
            return Checked(None, missing, 0)
        self._still += 1
        self._still[known & (row != self._last)] = 0
        if missing:
            self._quiet += 1
            self._quiet[known] = 0
            self._last = np.where(known, row, self._last)
            row = np.where(self._quiet > self._gap_rows, self._mean, self._last)
        else:
            self._quiet[:] = 0
            self._last = row
        return Checked(row, missing, int(np.count_nonzero((row < self._low) | (row >= self._high))))

    def changes(self) -> Iterator[tuple[str, Trouble]]:
        """The channels whose trouble began or ended with the last row."""
        silent, stuck = self._quiet > self._gap_rows, self._still > self._stuck_rows
        troubled = silent | stuck
        for at in np.flatnonzero(troubled != self._troubled):
            yield self._names[int(at)], "recovered" if not troubled[at] else "silent" if silent[at] else "stuck"
        self._troubled = troubled

    @property
    def healthy(self) -> bool:
        """Whether no channel is silent or stuck."""
        return not self._troubled.any()
