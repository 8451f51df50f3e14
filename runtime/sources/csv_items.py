"""CSV as a stream: each line a row, a label that comes late, or both."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path

from edgesnn.errors import DataError
from edgesnn.runtime.csv_table import LABEL, LABEL_SECONDS, Columns, CsvTable, TableRow, open_csv
from edgesnn.runtime.sources.items import Label, Row


def csv_rows(
    lines: Iterable[str], channels: int, classes: Sequence[str], place: str = "stream", names: Sequence[str] = ()
) -> Iterator[Row | Label]:
    """Parse CSV lines: a header of channel names, then numbers.

    Beside the channels, in any order and each of them optional: `label`, a class name, a class index, or nothing where
    the class is not known; `label_seconds`, for how long up to this row the label holds (0 or nothing: for this row
    alone); `t` or `time`, in seconds. A line with a label of seconds and no value at all is a label and no row. A cell
    that is empty, NaN, infinite or beyond 32-bit floats is a missing value. Rows are yielded as they are read, so
    `lines` may be a pipe that never ends.

    Args:
        lines: text lines, such as an open file.
        channels: number of columns that are channels.
        classes: class names, in the order of the model.
        place: name of the source in error messages.
        names: names of the channels in the order of the model; empty where it has none.

    Raises:
        DataError: naming the line: no header, other channels, a wrong number of columns, text, an unknown label.
    """
    table = CsvTable(lines, place, names, missing=True)
    check_channels(table.columns, channels, names, f"{place}, line 1")
    for row in table:
        yield from row_items(row, classes)


def csv_file_rows(
    path: str | Path, channels: int, classes: Sequence[str], names: Sequence[str] = ()
) -> Generator[Row | Label, None, None]:
    """The rows of a CSV file; see `csv_rows`.

    Raises:
        DataError: the file cannot be opened, or a line is malformed.
    """
    with open_csv(path) as file:
        yield from csv_rows(file, channels, classes, str(path), names)


def check_channels(columns: Columns, channels: int, names: Sequence[str], place: str) -> None:
    """Raise DataError unless the columns are the channels of the model, by number and, where it names them, by name."""
    got = columns.channels
    if len(got) != channels:
        raise DataError(
            f"{place}: expected {channels} channels besides {LABEL!r} and time, got {len(got)} "
            f"({', '.join(got[:8])}{', ...' if len(got) > 8 else ''}); give the columns the model was trained on"
        )
    if names and got != tuple(names):
        raise DataError(
            f"{place}: expected the channels {', '.join(names)}, in this order, got {', '.join(got)}; "
            "reorder or rename the columns"
        )


def row_items(row: TableRow, classes: Sequence[str]) -> Iterator[Row | Label]:
    """What one line says: a row with its own label; or a row, then the label of the seconds up to it; or that alone.

    Raises:
        DataError: an unknown label, or a negative span.
    """
    label = parse_label(row.label, classes, row.place)
    seconds = row.label_seconds or 0.0
    if seconds < 0:
        raise DataError(f"{row.place}: expected 0 or more in column {LABEL_SECONDS!r}, got {seconds:g}; repair the row")
    if label is None or not seconds:
        yield Row(row.values, label, row.time)
        return
    if not all(map(math.isnan, row.values)):
        yield Row(row.values, None, row.time)
    yield Label(label, seconds, row.time)


def parse_label(text: str, classes: Sequence[str], place: str) -> int | None:
    """Class index of a label cell: a class name, an index, or empty for unknown.

    Raises:
        DataError: neither a name in `classes` nor an index into it.
    """
    if not text:
        return None
    if text in classes:
        return list(classes).index(text)
    if text.isascii() and text.isdigit() and int(text) < len(classes):
        return int(text)
    names = ", ".join(classes)
    raise DataError(
        f"{place}: expected a label 0 to {len(classes) - 1} or one of {names}, got {text!r}; repair the row"
    )
