"""A source by the name a user types."""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Generator, Iterator
from typing import Protocol

from edgesnn.runtime.framing import frame_rows, row_channels
from edgesnn.runtime.model import Model
from edgesnn.runtime.sources.csv_items import csv_file_rows, csv_rows
from edgesnn.runtime.sources.items import Item
from edgesnn.runtime.sources.live import LiveQueue
from edgesnn.runtime.sources.serial_lines import LineParser, lines_of
from edgesnn.runtime.sources.serial_port import SCHEME, SerialPort, SerialSpec

#: A serial line that says nothing for so long has stopped: other pauses are the jitter of a bus and its driver.
SILENCE_SECONDS = 1.0
#: Rows that may wait for a model without a sample rate.
QUEUE_ROWS = 256


class Source(Protocol):
    """Items, and a way to be done with them."""

    def __iter__(self) -> Iterator[Item]: ...

    def close(self) -> None: ...


def open_source(name: str, model: Model) -> Source:
    """The stream that `name` stands for: a path of a CSV file, `-` for standard input, or `serial:PORT?...`.

    A file and a pipe wait for whoever reads them, and lose nothing. A serial port does not wait: a few seconds of rows
    queue, then the oldest are dropped (`LiveQueue`).

    Raises:
        ConfigError: a name of a serial port that cannot be read.
        DataError: the port cannot be opened. A file is opened at its first row.
    """
    if name.startswith(f"{SCHEME}:"):
        return _open_serial(SerialSpec.parse(name), model)
    if name == "-":
        return _standard_input(model)
    return csv_file_rows(name, row_channels(model), model.classes, model.channels)


def _standard_input(model: Model) -> Generator[Item, None, None]:
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8-sig", errors="backslashreplace", newline="")
    yield from csv_rows(sys.stdin, row_channels(model), model.classes, "standard input", model.channels)


def _open_serial(spec: SerialSpec, model: Model) -> LiveQueue:
    length, _ = frame_rows(model)
    parser = LineParser(model, spec.columns, f"{SCHEME}:{spec.port}")
    port = SerialPort(spec)
    return LiveQueue(
        parser.items(lines_of(port.chunks())),
        capacity=max(math.ceil(spec.queue * model.rate_hz) or QUEUE_ROWS, 4 * length),
        rate_hz=model.rate_hz,
        silence=SILENCE_SECONDS,
        close=port.close,
    )
