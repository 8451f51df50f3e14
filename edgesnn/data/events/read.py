"""Event streams from files.

.npz         arrays t, x, y and p; and shape (height, width), if it is known
.csv         a header with t, x, y and p in any order, then a line an event
.dat, .bin   Prophesee DAT and ATIS recordings, through the package evio
.aedat4      recordings of DV cameras, through the package aedat

t is in microseconds; p is 0 and 1, or -1 and 1.
"""

import csv
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from edgesnn.data.events.stream import Events
from edgesnn.errors import DataError

Columns = dict[str, Any]


def read_events(path: str | Path, shape: tuple[int, int] | None = None) -> Events:
    """The events of a file, told by how its name ends. shape: (height, width) of the sensor (None: what the file says,
    else the smallest that holds them).

    Raises:
        DataError: a file that cannot be read, or is not such a stream; one line that names it.
    """
    path = Path(path)
    if path.suffix not in _READERS:
        raise DataError(f"{path}: expected a name that ends in {', '.join(sorted(_READERS))}, got {path.suffix!r}")
    if not path.is_file():
        raise DataError(f"{path}: expected a file of events, found none there")
    try:
        columns = _READERS[path.suffix](path)
    except ImportError as error:
        raise DataError(f"{path}: reading it needs the package {error.name}; pip install edgesnn[events]") from None
    except DataError:
        raise
    except (OSError, ValueError, RuntimeError, KeyError, BadZipFile, IndexError, zlib.error) as error:
        reason = str(error).split("\n")[0]
        raise DataError(f"{path}: expected events in the format {path.suffix}, got: {reason}") from None
    known = columns.pop("shape", None)
    return Events.checked(**columns, shape=known if shape is None else shape, place=str(path))


def _npz(path: Path) -> Columns:
    with np.load(path, allow_pickle=False) as file:
        if missing := sorted(set("txyp") - set(file.files)):
            raise DataError(f"{path}: expected arrays t, x, y and p, got no {', '.join(missing)}")
        columns: Columns = {name: file[name] for name in "txyp"}
        if "shape" in file.files:
            height, width = (int(side) for side in file["shape"])
            columns["shape"] = (height, width)
        return columns


def _csv(path: Path) -> Columns:
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.reader(file)
        header = [name.strip() for name in next(rows, [])]
        if missing := sorted(set("txyp") - set(header)):
            raise DataError(f"{path}: expected a header with t, x, y and p, got no {', '.join(missing)}")
        at = [header.index(name) for name in "txyp"]
        values = []
        for number, row in enumerate(rows, start=2):
            try:
                values.append([int(row[i]) for i in at])
            except (ValueError, IndexError):
                raise DataError(f"{path}: line {number}: expected whole numbers, got {','.join(row)!r}") from None
    table = np.array(values, np.int64).reshape(-1, 4)
    return dict(zip("txyp", table.T, strict=True))


def _evio(path: Path) -> Columns:
    import evio

    events = evio.read(path)
    return {name: events[name] for name in "txyp"}


def _aedat(path: Path) -> Columns:
    import aedat

    decoder = aedat.Decoder(str(path))
    parts = [packet["events"] for packet in decoder if "events" in packet]
    names = {"t": "t", "x": "x", "y": "y", "p": "on"}
    columns: Columns = {
        ours: np.concatenate([part[theirs] for part in parts]) if parts else np.zeros(0, np.int64)
        for ours, theirs in names.items()
    }
    sizes = [stream for stream in decoder.id_to_stream().values() if stream["type"] == "events"]
    return columns | ({"shape": (sizes[0]["height"], sizes[0]["width"])} if sizes else {})


_READERS: dict[str, Callable[[Path], Columns]] = {
    ".npz": _npz,
    ".csv": _csv,
    ".dat": _evio,
    ".bin": _evio,
    ".aedat4": _aedat,
}
