"""A user's own sensor stream: CSV with a header of channel names and, usually, a column `label`."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgesnn.data.dataset import Dataset, Frame, Recording, row_statistics
from edgesnn.errors import DataError

LABEL = "label"
UNLABELLED = -1
LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, eq=False)
class CsvStream:
    """rows [L, C] in sensor units, labels [L] (class index, -1 where the cell is empty or there is no label column)."""

    channels: tuple[str, ...]
    classes: tuple[str, ...]
    rows: NDArray[np.float32]
    labels: NDArray[np.int64]


def read_csv(path: Path, channels: int | None = None, classes: Sequence[str] | None = None) -> CsvStream:
    """Reads and checks a CSV stream. `channels` and `classes` are those of the model it is for; without `classes`,
    the labels found are the classes, in sorted order. Raises DataError with the row number (the header is row 1).
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return parse_csv(file, str(path), channels, classes)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: expected UTF-8 text, got other bytes") from None


def parse_csv(
    lines: Iterable[str], place: str, channels: int | None = None, classes: Sequence[str] | None = None
) -> CsvStream:
    """`read_csv` for lines from anywhere; `place` names them in errors."""
    reader = csv.reader(lines)
    header = [name.strip() for name in next(reader, [])]
    columns = [i for i, name in enumerate(header) if name != LABEL]
    if not columns or len(set(header)) != len(header) or any(_is_number(name) for name in header):
        raise DataError(f"{place} row 1: expected a header of distinct channel names and '{LABEL}', got {header}")
    if channels is not None and len(columns) != channels:
        raise DataError(f"{place} row 1: expected {channels} channels, got {len(columns)} ({', '.join(header)})")
    at_label = header.index(LABEL) if LABEL in header else None
    rows: list[list[float]] = []
    names: list[str] = []
    for number, cells in enumerate(reader, start=2):
        if not cells:
            continue
        if len(cells) != len(header):
            raise DataError(f"{place} row {number}: expected {len(header)} columns, got {len(cells)}")
        rows.append([_number(cells[i], f"{place} row {number}, column '{header[i]}'") for i in columns])
        name = "" if at_label is None else cells[at_label].strip()
        if classes is not None and name:
            name = _known_class(name, classes, f"{place} row {number}")
        names.append(name)
    if not rows:
        raise DataError(f"{place}: expected rows after the header, got none")
    found = tuple(classes) if classes is not None else _sorted_classes({name for name in names if name})
    index = {"": UNLABELLED} | {name: i for i, name in enumerate(found)}
    return CsvStream(
        channels=tuple(header[i] for i in columns),
        classes=found,
        rows=np.array(rows, np.float32),
        labels=np.array([index[name] for name in names], np.int64),
    )


def from_csv(path: Path, frame_length: int = 16, hop: int = 4, rate_hz: float | None = None) -> Dataset:
    """A data set from one labelled CSV stream. Rows of equal label that follow each other are a recording, which is
    split in time: its first 60 % train, the next 20 % validation, the rest test.
    """
    stream = read_csv(path)
    if len(stream.classes) < 2:
        raise DataError(f"{path}: training needs a column '{LABEL}' with at least 2 classes, got {len(stream.classes)}")
    frame = Frame(length=frame_length, hop=hop, channels=len(stream.channels))
    parts: dict[str, list[Recording]] = {"train": [], "validation": [], "test": []}
    edges = np.flatnonzero(np.diff(stream.labels)) + 1
    for i, (start, stop) in enumerate(zip([0, *edges], [*edges, len(stream.labels)], strict=True)):
        label, length = int(stream.labels[start]), stop - start
        if label == UNLABELLED:
            continue
        cuts = (start, start + length * 3 // 5, start + length * 4 // 5, stop)
        for part, low, high in zip(parts, cuts, cuts[1:], strict=False):
            if high - low >= frame.length:
                parts[part].append(Recording(id=i, rows=stream.rows[low:high], label=label))
    for part, recordings in parts.items():
        if not recordings:
            raise DataError(f"{path}: no recording is long enough for a {part} part of {frame.length} rows")
    mean, std = row_statistics(parts["train"])
    return Dataset(
        name=path.stem,
        classes=stream.classes,
        input_shape=(frame.length * frame.channels,),
        mean=mean,
        std=std,
        rate_hz=rate_hz,
        frame=frame,
        steps=16,
        train=tuple(parts["train"]),
        validation=tuple(parts["validation"]),
        test=tuple(parts["test"]),
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _number(text: str, place: str) -> float:
    if not _is_number(text) or not abs(float(text)) <= LARGEST:
        raise DataError(f"{place}: expected a finite number, got '{text.strip()}'")
    return float(text)


def _known_class(name: str, classes: Sequence[str], place: str) -> str:
    """A label is a class name, or the index of a class."""
    if name in classes:
        return name
    if name.isdecimal() and int(name) < len(classes):
        return classes[int(name)]
    raise DataError(f"{place}: expected a label of {', '.join(classes)} or an index 0-{len(classes) - 1}, got '{name}'")


def _sorted_classes(names: set[str]) -> tuple[str, ...]:
    if all(name.isdecimal() for name in names):
        return tuple(sorted(names, key=int))
    return tuple(sorted(names))
