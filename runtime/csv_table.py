"""CSV as numbers: a header of channel names, rows of numbers, and perhaps a label and a time stamp.

The columns `label`, `label_seconds` and `t` (or `time`) are not channels, unless the model has a channel of that name.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from edgesnn.errors import DataError

LABEL, LABEL_SECONDS = "label", "label_seconds"
TIMES = ("t", "time")
FLOAT32_MAX = (2 - 2**-23) * 2.0**127  # the largest value of a sensor: models are trained on 32-bit floats


@dataclass(frozen=True, slots=True)
class TableRow:
    """One checked row: where it stands (for error messages), its numbers by channel, and what stands beside them."""

    place: str
    values: list[float]  # NaN: missing
    label: str  # empty: not known, or no such column
    label_seconds: float | None = None  # None: the label is about this row alone
    time: float | None = None  # seconds; None: no time stamp


class Columns:
    """What each cell of a line is.

    Args:
        header: names of the columns.
        place: where the header stands, in error messages.
        names: channels of the model, where it names them: none of these is taken for a label or a time.
        missing: let an empty cell, NaN, infinity and a value beyond 32-bit floats stand for a missing value.

    Raises:
        DataError: no channel, a number in place of a name, or two columns of one meaning.
    """

    def __init__(self, header: Sequence[str], place: str, names: Collection[str] = (), missing: bool = False) -> None:
        self._header = [cell.strip() for cell in header]
        self._missing = missing
        kinds = [name.lower() if name not in names else "" for name in self._header]
        times = [at for at, kind in enumerate(kinds) if kind in TIMES]
        labels = [at for at, kind in enumerate(kinds) if kind == LABEL]
        spans = [at for at, kind in enumerate(kinds) if kind == LABEL_SECONDS]
        beside = {*times, *labels, *spans}
        self._channels_at = [at for at in range(len(self._header)) if at not in beside]
        self.channels = tuple(self._header[at] for at in self._channels_at)
        self._time_at, self._label_at, self._span_at = (next(iter(at), None) for at in (times, labels, spans))
        if not self.channels or any(_parse(name) is not None for name in self.channels):
            got = ",".join(self._header[:8]) or "nothing"
            raise DataError(f"{place}: expected a header of channel names, got {got!r}; add one")
        if max(map(len, (times, labels, spans))) > 1 or len(set(self.channels)) < len(self.channels):
            raise DataError(
                f"{place}: expected distinct column names, one of them {LABEL!r} or none, and one time or none, got "
                f"{', '.join(self._header)}; rename or remove columns"
            )
        if spans and not labels:
            raise DataError(
                f"{place}: expected a column {LABEL!r} beside {LABEL_SECONDS!r}, got none; add it, or remove the other"
            )

    @property
    def has_spans(self) -> bool:
        """Whether labels may be about more than their own row."""
        return self._span_at is not None

    def parse(self, cells: Sequence[str], place: str) -> TableRow:
        """The row in the cells of one line.

        Raises:
            DataError: naming `place`: a wrong number of cells, text, or a number that cannot be.
        """
        if len(cells) != len(self._header):
            raise DataError(
                f"{place}: expected {len(self._header)} columns, as in the header, got {len(cells)}; repair the row"
            )
        return TableRow(
            place=place,
            values=[self._value(cells[at].strip(), self._header[at], place) for at in self._channels_at],
            label=self._cell(cells, self._label_at),
            label_seconds=self._optional(cells, self._span_at, place),
            time=self._optional(cells, self._time_at, place),
        )

    @staticmethod
    def _cell(cells: Sequence[str], at: int | None) -> str:
        return "" if at is None else cells[at].strip()

    def _optional(self, cells: Sequence[str], at: int | None, place: str) -> float | None:
        text = self._cell(cells, at)
        return None if at is None or not text else _finite(text, self._header[at], place)

    def _value(self, text: str, column: str, place: str) -> float:
        if not self._missing:
            value = _finite(text, column, place)
            if abs(value) > FLOAT32_MAX:
                raise DataError(
                    f"{place}: expected a value within float32 in column {column!r}, got {text}; drop or repair the row"
                )
            return value
        value = _number(text, column, place) if text else math.nan
        return value if abs(value) <= FLOAT32_MAX else math.nan


class CsvTable:
    """Rows of a CSV source, checked as they are read, so that the source may be a pipe that never ends.

    Args:
        lines: text lines, such as an open file.
        place: name of the source in error messages.
        names: channels of the model, where it names them; see `Columns`.
        missing: let cells without a usable number stand for missing values; see `Columns`.

    Raises:
        DataError: while constructing, for a header that is not one; while iterating, naming the line of a row that is
            not one.
    """

    def __init__(self, lines: Iterable[str], place: str, names: Collection[str] = (), missing: bool = False) -> None:
        self._reader = csv.reader(lines)
        self._place = place
        with self._readable():
            header = next(self._reader, [])
        self.columns = Columns(header, f"{place}, line 1", names, missing)

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the values of a row, in order."""
        return self.columns.channels

    def __iter__(self) -> Generator[TableRow, None, None]:
        with self._readable():
            for cells in self._reader:
                if cells:
                    yield self.columns.parse(cells, f"{self._place}, line {self._reader.line_num}")

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except csv.Error as error:
            line = self._reader.line_num + 1
            raise DataError(f"{self._place}, line {line}: expected CSV text, got {error}; repair the file") from None


def open_csv(path: str | Path) -> TextIO:
    """A CSV file opened as text.

    A byte that is not UTF-8 becomes an escape of text, which the check of its column then refuses by line.

    Raises:
        DataError: the file cannot be opened.
    """
    try:
        return Path(path).open(newline="", encoding="utf-8-sig", errors="backslashreplace")
    except OSError as error:
        raise DataError(f"{path}: expected a readable CSV file, got {error.strerror}; check the path") from None


def _finite(text: str, column: str, place: str) -> float:
    value = _number(text, column, place)
    if not math.isfinite(value):
        raise DataError(f"{place}: expected a finite number in column {column!r}, got {text}; drop or repair the row")
    return value


def _number(text: str, column: str, place: str) -> float:
    value = _parse(text)
    if value is None:
        raise DataError(f"{place}: expected a number in column {column!r}, got {text!r}; repair the row")
    return value


def _parse(text: str) -> float | None:
    """The number a cell holds; None for text, which is also what Python alone reads as one: `1_0`, other digits."""
    try:
        return float(text) if text.isascii() and "_" not in text else None
    except ValueError:
        return None
