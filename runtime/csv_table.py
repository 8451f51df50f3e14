"""CSV as numbers: a header of channel names, rows of finite numbers, and perhaps a column `label`."""

from __future__ import annotations

import csv
import math
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from edgesnn.errors import DataError

LABEL = "label"
FLOAT32_MAX = (2 - 2**-23) * 2.0**127  # the largest value of a sensor: models are trained on 32-bit floats


@dataclass(frozen=True, slots=True)
class TableRow:
    """One checked row: where it stands (for error messages), its numbers by channel, and the text of its label."""

    place: str
    values: list[float]
    label: str  # empty: not known, or no such column


class CsvTable:
    """Rows of a CSV source, checked as they are read, so that the source may be a pipe that never ends.

    Args:
        lines: text lines, such as an open file.
        place: name of the source in error messages.

    Raises:
        DataError: while constructing, for a header that is not one; while iterating, naming the line: a wrong number
            of columns, text, NaN, infinity or a value beyond 32-bit floats.
    """

    def __init__(self, lines: Iterable[str], place: str) -> None:
        self._reader = csv.reader(lines)
        self._place = place
        with self._readable():
            self._header = [cell.strip() for cell in next(self._reader, [])]
        labels = [at for at, name in enumerate(self._header) if name.lower() == LABEL]
        self.channels = tuple(name for name in self._header if name.lower() != LABEL)
        self._label_at = labels[0] if labels else None
        if not self.channels or any(_parse(name) is not None for name in self.channels):
            got = ",".join(self._header[:8]) or "nothing"
            raise DataError(f"{place}, line 1: expected a header of channel names, got {got!r}; add one")
        if len(labels) > 1 or len(set(self.channels)) < len(self.channels):
            raise DataError(
                f"{place}, line 1: expected distinct column names, one of them {LABEL!r} or none, got "
                f"{', '.join(self._header)}; rename or remove columns"
            )

    def __iter__(self) -> Generator[TableRow, None, None]:
        with self._readable():
            for cells in self._reader:
                if cells:
                    yield self._row(cells, f"{self._place}, line {self._reader.line_num}")

    def _row(self, cells: list[str], place: str) -> TableRow:
        if len(cells) != len(self._header):
            raise DataError(
                f"{place}: expected {len(self._header)} columns, as in the header, got {len(cells)}; repair the row"
            )
        numbers = [
            _number(cell.strip(), name, place)
            for at, (cell, name) in enumerate(zip(cells, self._header, strict=True))
            if at != self._label_at
        ]
        return TableRow(place, numbers, "" if self._label_at is None else cells[self._label_at].strip())

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


def _number(text: str, column: str, place: str) -> float:
    value = _parse(text)
    if value is None:
        raise DataError(f"{place}: expected a number in column {column!r}, got {text!r}; repair the row")
    if not math.isfinite(value):
        raise DataError(f"{place}: expected a finite number in column {column!r}, got {text}; drop or repair the row")
    if abs(value) > FLOAT32_MAX:
        raise DataError(
            f"{place}: expected a value within float32 in column {column!r}, got {text}; drop or repair the row"
        )
    return value


def _parse(text: str) -> float | None:
    """The number a cell holds; None for text, which is also what Python alone reads as one: `1_0`, other digits."""
    try:
        return float(text) if text.isascii() and "_" not in text else None
    except ValueError:
        return None
