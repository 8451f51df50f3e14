"""Lines of CSV from a serial line, where anything may come: bytes in, items out, back in step after any garbage."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence

from edgesnn.errors import DataError
from edgesnn.runtime.csv_table import Columns
from edgesnn.runtime.framing import row_channels
from edgesnn.runtime.model import Model
from edgesnn.runtime.sources.csv_items import check_channels, row_items
from edgesnn.runtime.sources.items import Item, Lost

#: A line that is longer is garbage up to the next newline; it bounds what is kept of a line that never ends.
MAX_LINE_BYTES = 4096
#: So many lines without one row among them are no boot messages: wrong speed, or other columns.
MAX_HOPELESS_LINES = 100
#: A run of garbage is told after so many lines, even if it has not ended.
TELL_GARBAGE = 100


def lines_of(chunks: Iterable[bytes]) -> Iterator[bytes | None]:
    """The lines in chunks of bytes, without their ends; None for a line longer than `MAX_LINE_BYTES`.

    What comes after the last newline is not a line. Keeps `MAX_LINE_BYTES` and one chunk.
    """
    rest, overlong = b"", False
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield None if overlong or len(line) > MAX_LINE_BYTES else line
            overlong = False
        if len(rest) > MAX_LINE_BYTES:
            rest, overlong = b"", True


class LineParser:
    """Turns lines into items.

    A line that names columns sets what the columns are, at any time, for a device that starts anew says it again; where
    the model names no channels, any text might be that, so it counts before the first row alone, or as a repetition.
    Until then they are `columns`. The first line is dropped unless it names columns: we may have come in its middle. A
    line that is neither a row nor a header is garbage; it is dropped and counted as one lost row.

    Args:
        model: whose channels and classes to expect.
        columns: names of the columns; none: the channels of the model in their order.
        place: name of the source in error messages.

    Raises:
        DataError: the columns named are not the channels of the model.
    """

    def __init__(self, model: Model, columns: Sequence[str], place: str) -> None:
        self._classes, self._names, self._place = model.classes, model.channels, place
        self._count = row_channels(model)
        given = columns or self._names or [f"channel {at}" for at in range(self._count)]
        self._header = list(given)
        self._columns = self._checked(self._header)
        self._garbage = 0  # lines not told so far
        self._hopeless: int | None = 0  # lines before the first row; None once there was one
        self._first = True

    def items(self, lines: Iterable[bytes | None]) -> Iterator[Item]:
        """The items in the lines of a stream.

        Raises:
            DataError: `MAX_HOPELESS_LINES` lines and no row among them.
        """
        for line in lines:
            first, self._first = self._first, False
            text = line.decode("utf-8-sig", "backslashreplace").strip() if line is not None else None
            if text == "" or (text is not None and self._is_header(text)):
                continue
            if first:
                continue
            found = self._parse(text)
            if found is None:
                self._garbage += 1
                self._give_up_if_hopeless(line)
            else:
                self._hopeless = None
            if self._garbage and (found is not None or self._garbage >= TELL_GARBAGE):
                yield Lost(self._garbage, "garbage")
                self._garbage = 0
            yield from found or ()

    def _parse(self, text: str | None) -> list[Item] | None:
        if text is None:
            return None
        try:
            return list(row_items(self._columns.parse(next(csv.reader([text])), self._place), self._classes))
        except (DataError, csv.Error, StopIteration):
            return None

    def _is_header(self, text: str) -> bool:
        header = text.split(",")
        if header == self._header:
            return True
        if not self._names and self._hopeless is None:
            return False
        try:
            self._columns = self._checked(header)
        except DataError:
            return False
        self._header = header
        return True

    def _checked(self, header: Sequence[str]) -> Columns:
        columns = Columns(header, self._place, self._names, missing=True)
        check_channels(columns, self._count, self._names, self._place)
        return columns

    def _give_up_if_hopeless(self, line: bytes | None) -> None:
        if self._hopeless is None:
            return
        self._hopeless += 1
        if self._hopeless >= MAX_HOPELESS_LINES:
            got = "a line without an end" if line is None else repr(line[:40])[1:]
            raise DataError(
                f"{self._place}: expected lines of {len(self._columns.channels)} channels, got {self._hopeless} other "
                f"lines, the last of them {got}; check baud and columns of the source"
            )
