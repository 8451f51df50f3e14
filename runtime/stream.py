"""Streams: sensor rows in, decisions out, in constant memory at any length.

A row is one sample of every channel in sensor units, with a label if somebody gave one. A frame is what one time step
of the model reads: the last `length` rows flattened row-major, a new one every `hop` rows. A model without a frame
specification (an image network) reads one row as one image and is shown it for all its time steps from rest.
"""

from __future__ import annotations

import math
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgesnn.errors import DataError
from edgesnn.runtime import state as state_file
from edgesnn.runtime.csv_table import LABEL, CsvTable, open_csv
from edgesnn.runtime.model import Array, Model
from edgesnn.runtime.session import Session


@dataclass(frozen=True, slots=True)
class Row:
    """One sample: `values` of every channel in sensor units, and the class index it belongs to, if known."""

    values: Sequence[float] | Array
    label: int | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What one frame led to. `accuracy` is that of all labelled frames up to this one, each judged before learning."""

    step: int
    seconds: float | None  # sampling time of the frame's last row from the start of the stream; None without a rate
    decision: int
    name: str
    logits: list[int]  # units of 2^-10 nat
    label: int | None = None
    accuracy: float | None = None

    def as_json(self) -> dict[str, Any]:
        """The fields that are known, in order, as one JSON object."""
        return {key: value for key, value in asdict(self).items() if value is not None}


def row_channels(model: Model) -> int:
    """How many values a row of this model's stream has."""
    return model.frame.channels if model.frame is not None else math.prod(model.input.shape)


def csv_rows(
    lines: Iterable[str], channels: int, classes: Sequence[str], place: str = "stream", names: Sequence[str] = ()
) -> Iterator[Row]:
    """Parse CSV lines: a header of channel names, then numbers.

    A column `label`, at any place, holds a class name, a class index, or nothing where the class is not known. Rows are
    yielded as they are read, so `lines` may be a pipe that never ends.

    Args:
        lines: text lines, such as an open file.
        channels: number of columns besides `label`.
        classes: class names, in the order of the model.
        place: name of the source in error messages.
        names: names of the channels in the order of the model; empty where it has none.

    Raises:
        DataError: naming the line: no header, other channels, a wrong number of columns, text, a number that is not
            finite in 32 bits, an unknown label.
    """
    table = CsvTable(lines, place)
    if len(table.channels) != channels:
        shown = f"{', '.join(table.channels[:8])}{', ...' if len(table.channels) > 8 else ''}"
        raise DataError(
            f"{place}, line 1: expected {channels} channels besides {LABEL!r}, got {len(table.channels)} ({shown}); "
            "give the columns the model was trained on"
        )
    if names and table.channels != tuple(names):
        raise DataError(
            f"{place}, line 1: expected the channels {', '.join(names)}, in this order, "
            f"got {', '.join(table.channels)}; reorder or rename the columns"
        )
    for row in table:
        yield Row(row.values, parse_label(row.label, classes, row.place))


def csv_file_rows(path: str | Path, channels: int, classes: Sequence[str], names: Sequence[str] = ()) -> Iterator[Row]:
    """The rows of a CSV file; see `csv_rows`.

    Raises:
        DataError: the file cannot be opened, or a line is malformed.
    """
    with open_csv(path) as file:
        yield from csv_rows(file, channels, classes, str(path), names)


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


class Framer:
    """Collects rows into frames: the last `length` rows flattened row-major, one every `hop` rows.

    Holds `length` rows, however long the stream.
    """

    def __init__(self, model: Model) -> None:
        self.channels = row_channels(model)
        self.length, self.hop = (model.frame.length, model.frame.hop) if model.frame is not None else (1, 1)
        self._shape = model.input.shape
        self._rows: deque[Array] = deque(maxlen=self.length)
        self._due = self.length  # rows until the next frame

    def push(self, values: Sequence[float] | Array) -> Array | None:
        """Take one row [channels]; return a frame of the model's input shape in sensor units when one is due.

        Raises:
            DataError: the row has another number of channels.
        """
        row = np.asarray(values, np.float64)
        if row.shape != (self.channels,):
            raise DataError(f"row: expected {self.channels} channels, got shape {row.shape}; see the model's metadata")
        self._rows.append(row)
        self._due -= 1
        if self._due:
            return None
        self._due = self.hop
        return np.concatenate(self._rows).reshape(self._shape)


def run(session: Session, rows: Iterable[Row]) -> Iterator[Decision]:
    """Stream rows through a session and yield a decision a frame.

    Raises:
        DataError: a bad row, or a stream that ends before its first frame.
    """
    return _decide(session, rows, learn=False)


def adapt(
    session: Session,
    rows: Iterable[Row],
    state: str | Path | None = None,
    save_every: int = 0,
    warn: Callable[[str], object] = warnings.warn,
) -> Generator[Decision, None, None]:
    """Predict, then learn from the label of the frame's last row if there is one (prequential; Dawid 1984).

    Args:
        session: a model exported with learning.
        rows: rows, of which some or all have labels.
        state: file to continue from if it exists and to save to at the end, also when the stream breaks off.
            Learned parameters are continued; membranes start at rest, for the rows before are not the rows of now.
            It is checked before the first row, and no other process can adapt with it meanwhile.
        save_every: save after this many learning steps as well; 0 saves at the end alone.
        warn: takes one line where the file has a damaged slot, or nothing but a first save that was cut.

    Raises:
        DataError: a bad row, or a stream that ends before its first frame.
        StateError: the state file cannot be written, is not one of this model, or another process adapts with it.
    """
    if state is None:
        yield from _decide(session, rows, learn=True)
        return
    path = Path(state)
    fresh = not path.exists()
    with state_file.hold(path):
        if not fresh:
            _continue(session, path, warn)
        learned = 0
        try:
            for decision in _decide(session, rows, learn=True):
                yield decision
                learned += decision.label is not None
                if save_every and decision.label is not None and learned % save_every == 0:
                    session.save(path)
        finally:
            session.save(path)


def _continue(session: Session, path: Path, warn: Callable[[str], object]) -> None:
    """Load what was learned; a file in which nothing was saved so far leaves the factory model."""
    try:
        notice = session.load(path)
        session.reset()
    except state_file.NoStateError as error:
        notice = str(error)
    if notice:
        warn(notice)


def _decide(session: Session, rows: Iterable[Row], learn: bool) -> Iterator[Decision]:
    model = session.model
    framer = Framer(model)
    step = labelled = correct = count = 0
    for count, row in enumerate(rows, start=1):
        frame = framer.push(row.values)
        if frame is None:
            continue
        logits = _present(session, frame)
        winner = int(np.argmax(logits))
        if row.label is not None:
            labelled += 1
            correct += winner == row.label
            if learn:
                session.learn(row.label)
        yield Decision(
            step=step,
            seconds=(count - 1) / model.rate_hz if model.rate_hz else None,
            decision=winner,
            name=model.classes[winner],
            logits=[int(value) for value in logits],
            label=row.label,
            accuracy=correct / labelled if labelled else None,
        )
        step += 1
    if not step:
        raise DataError(f"stream: expected at least {framer.length} rows for a first frame, got {count}; send more")


def _present(session: Session, frame: Array) -> Array:
    """Logits after one frame of a stream, or after all time steps of one image, which starts from rest."""
    if session.model.frame is not None:
        return session.step(frame)
    session.reset()
    for _ in range(session.model.time_steps - 1):
        session.step(frame)
    return session.step(frame)
