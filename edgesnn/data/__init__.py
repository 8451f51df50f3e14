"""Data sets with fixed splits, and a user's own CSV streams. Imports torch only when batches are made."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgesnn.data.arrays import from_images, from_npz, from_recordings
from edgesnn.data.clips import from_events, simulated_events
from edgesnn.data.csv_stream import CsvStream, from_csv, read_csv
from edgesnn.data.dataset import Clips, Dataset, Frame, Images, Recording, Split, frames
from edgesnn.data.fashion_mnist import fashion
from edgesnn.data.images import digits, mnist5k
from edgesnn.data.variation import Variation
from edgesnn.data.watch import watch
from edgesnn.errors import DataError

if TYPE_CHECKING:
    from edgesnn.data import encoders

__all__ = [
    "Clips",
    "CsvStream",
    "Dataset",
    "Frame",
    "Images",
    "Recording",
    "Split",
    "Variation",
    "absolute",
    "digits",
    "encoders",
    "fashion",
    "frames",
    "from_csv",
    "from_events",
    "from_images",
    "from_npz",
    "from_recordings",
    "load",
    "mnist5k",
    "read_csv",
    "simulated_events",
    "watch",
]

_LOADERS: dict[str, Callable[[], Dataset]] = {
    "digits": digits,
    "fashion": fashion,
    "mnist5k": mnist5k,
    "simulated-events": simulated_events,
    "watch": watch,
}


def absolute(name: str) -> str:
    """What `load` takes from any folder: a data set's name, before a file that is called so, or an absolute path."""
    return name if name in _LOADERS or not Path(name).exists() else str(Path(name).resolve())


def load(name: str | Path) -> Dataset:
    """A data set by name, from the path of a CSV file (see `from_csv`), of a file of arrays (see `from_npz`) or
    of a folder of recorded events (see `from_events`).
    """
    if str(name) in _LOADERS:
        return _LOADERS[str(name)]()
    if Path(name).suffix == ".csv":
        return from_csv(Path(name))
    if Path(name).suffix == ".npz":
        return from_npz(Path(name))
    if Path(name).is_dir():
        return from_events(Path(name))
    raise DataError(
        f"data: expected one of {sorted(_LOADERS)}, a path ending in .csv or .npz, or a folder of events, got '{name}'"
    )


def __getattr__(name: str) -> Any:
    if name == "encoders":  # which imports torch
        return import_module("edgesnn.data.encoders")
    raise AttributeError(f"module 'edgesnn.data' has no attribute '{name}'")
