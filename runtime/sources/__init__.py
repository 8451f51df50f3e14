"""Where streams come from: files, standard input, serial ports, arrays, and whatever Python iterates over.

A source is an iterable of items: `Row`, `Label` (for the last seconds), `Lost`. Any iterable of them will do; those
here read CSV, serial ports and arrays, and `LiveQueue` makes a source live.
"""

from __future__ import annotations

from edgesnn.runtime.sources.csv_items import csv_file_rows, csv_rows, parse_label
from edgesnn.runtime.sources.items import Item, Label, Lost, Row, array_rows
from edgesnn.runtime.sources.live import LiveQueue
from edgesnn.runtime.sources.opening import Source, open_source

__all__ = [
    "Item",
    "Label",
    "LiveQueue",
    "Lost",
    "Row",
    "Source",
    "array_rows",
    "csv_file_rows",
    "csv_rows",
    "open_source",
    "parse_label",
]
