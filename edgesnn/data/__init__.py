"""Data sets with fixed splits, and a user's own CSV streams. Imports torch only when batches are made."""

from collections.abc import Callable
from pathlib import Path

from edgesnn.data.csv_stream import CsvStream, from_csv, read_csv
from edgesnn.data.dataset import Dataset, Frame, Images, Recording, Split, frames
from edgesnn.data.fashion_mnist import fashion
from edgesnn.data.images import digits, mnist5k
from edgesnn.data.variation import Variation
from edgesnn.data.watch import watch
from edgesnn.errors import DataError

__all__ = [
    "CsvStream",
    "Dataset",
    "Frame",
    "Images",
    "Recording",
    "Split",
    "Variation",
    "digits",
    "fashion",
    "frames",
    "from_csv",
    "load",
    "mnist5k",
    "read_csv",
    "watch",
]

_LOADERS: dict[str, Callable[[], Dataset]] = {"watch": watch, "mnist5k": mnist5k, "digits": digits, "fashion": fashion}


def load(name: str | Path) -> Dataset:
    """A data set by name, or from the path of a CSV file (see `from_csv`)."""
    if str(name) in _LOADERS:
        return _LOADERS[str(name)]()
    if Path(name).suffix == ".csv":
        return from_csv(Path(name))
    raise DataError(f"data: expected one of {sorted(_LOADERS)} or a path ending in .csv, got '{name}'")
