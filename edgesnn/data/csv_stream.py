"""A user's own sensor stream: CSV with a header of channel names and, usually, a column `label`."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgesnn.data.arrays import from_recordings
from edgesnn.data.dataset import Dataset, Frame, Recording
from edgesnn.errors import DataError
from edgesnn.runtime.csv_table import LABEL, CsvTable, open_csv

UNLABELLED = -1


@dataclass(frozen=True, eq=False)
class CsvStream:
    """rows [L, C] in sensor units, labels [L] (class index, -1 where the cell is empty or there is no label column)."""

    channels: tuple[str, ...]
    classes: tuple[str, ...]
    rows: NDArray[np.float32]
    labels: NDArray[np.int64]


def read_csv(path: Path) -> CsvStream:
    """A CSV stream; the labels found are its classes, in sorted order.

    Raises:
        DataError: naming the line of a file that is not such a stream.
    """
    with open_csv(path) as file:
        table = CsvTable(file, str(path))
        found = [(row.values, row.label) for row in table]
    if not found:
        raise DataError(f"{path}: expected rows after the header, got none; add some")
    rows, names = zip(*found, strict=True)
    classes = _sorted_classes(set(names) - {""})
    index = {"": UNLABELLED} | {name: i for i, name in enumerate(classes)}
    return CsvStream(
        channels=table.channels,
        classes=classes,
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
            longest = max(np.diff([0, *edges, len(stream.labels)])[stream.labels[[0, *edges]] != UNLABELLED])
            raise DataError(
                f"{path}: a {part} part of {frame.length} rows needs {5 * frame.length} rows of one label in a row, "
                f"got at most {longest}; record longer"
            )
    for label, name in enumerate(stream.classes):
        if not any(recording.label == label for recording in parts["train"]):
            runs = np.diff([0, *edges, len(stream.labels)])[stream.labels[[0, *edges]] == label]
            raise DataError(
                f"{path}: class '{name}': training needs {-(-5 * frame.length // 3)} rows of it in a row, got at most "
                f"{max(runs)}; record longer, or take its label out"
            )
    return from_recordings(
        parts["train"],
        parts["validation"],
        parts["test"],
        stream.classes,
        frame,
        name=path.stem,
        rate_hz=rate_hz,
        channels=stream.channels,
    )


def _sorted_classes(names: set[str]) -> tuple[str, ...]:
    if all(name.isdecimal() for name in names):
        return tuple(sorted(names, key=int))
    return tuple(sorted(names))
