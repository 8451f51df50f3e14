"""What a stream is made of: rows, labels that come late, and notes of what was lost on the way."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from edgesnn.errors import DataError
from edgesnn.runtime.model import Array

#: Why rows did not arrive: a queue was full, a line was not a row, the line was silent.
Reason = Literal["dropped", "garbage", "silence"]


@dataclass(frozen=True, slots=True)
class Row:
    """One sample: `values` of every channel in sensor units (NaN or infinite: missing).

    `label` is the class index it belongs to, if known; `time` its time stamp in seconds, of whatever epoch, if it has
    one. Without a time stamp a row comes one sample period after the row before it.
    """

    values: Sequence[float] | Array
    label: int | None = None
    time: float | None = None


@dataclass(frozen=True, slots=True)
class Label:
    """A label that comes after its rows: class index `value` held for the last `seconds`, up to `time` or else to now.

    Raises:
        DataError: the span is not a positive number.
    """

    value: int
    seconds: float
    time: float | None = None

    def __post_init__(self) -> None:
        if not (self.seconds > 0 and math.isfinite(self.seconds)):
            raise DataError(f"label: expected a span of more than 0 seconds, got {self.seconds:g}; repair the label")


@dataclass(frozen=True, slots=True)
class Lost:
    """`rows` samples that were taken, or were due, and did not arrive here."""

    rows: int
    why: Reason


Item: TypeAlias = Row | Label | Lost


def array_rows(values: Array, labels: Iterable[int | None] | None = None) -> Iterator[Row]:
    """The rows of an array [rows, channels] in sensor units, with one label a row (-1 or None: unknown) or none at all.

    Raises:
        DataError: the array is not two-dimensional, or labels are not one a row.
    """
    if values.ndim != 2:
        raise DataError(f"stream: expected an array [rows, channels], got shape {values.shape}; reshape it")
    if labels is None:
        yield from (Row(row) for row in values)
        return
    known = [None if label is None or label < 0 else int(label) for label in labels]
    if len(known) != len(values):
        raise DataError(f"stream: expected {len(values)} labels, one a row, got {len(known)}; use -1 where unknown")
    yield from (Row(row, label) for row, label in zip(values, known, strict=True))
