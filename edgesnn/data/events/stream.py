"""What an event stream is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgesnn.errors import DataError

#: Pixels a side of the largest sensor that is believed without being named.
SIDE = 2**16


@dataclass(frozen=True, eq=False)
class Events:
    """n events in order of time: t [n] int64 microseconds, x and y [n] int32 pixels, p [n] int8 (1 brighter, 0 darker).

    shape: (height, width) of the sensor.
    """

    t: NDArray[np.int64]
    x: NDArray[np.int32]
    y: NDArray[np.int32]
    p: NDArray[np.int8]
    shape: tuple[int, int]

    def __len__(self) -> int:
        return len(self.t)

    @classmethod
    def checked(
        cls, t: ArrayLike, x: ArrayLike, y: ArrayLike, p: ArrayLike, shape: tuple[int, int] | None, place: str
    ) -> "Events":
        """Events from columns of whole numbers, sorted by time; p is 0 and 1, or -1 and 1. Without a shape, the sensor
        is the smallest that holds them. DataError names the place for anything else.
        """
        columns = {name: np.asarray(values) for name, values in zip("txyp", (t, x, y, p), strict=True)}
        lengths = {name: len(values) if values.ndim == 1 else values.shape for name, values in columns.items()}
        if len(set(lengths.values())) != 1 or columns["t"].ndim != 1:
            raise DataError(f"{place}: expected columns t, x, y and p of one length, got {lengths}; correct the file")
        for name, values in columns.items():
            whole = values.dtype.kind in "iub"
            if values.dtype.kind == "f":
                whole = bool((np.abs(values) < 2**63).all() and (values == np.floor(values)).all())
            if not whole:
                raise DataError(f"{place}: expected whole numbers in '{name}', got others; t is in microseconds")
        if shape is not None and not _is_size(shape):
            raise DataError(f"{place}: expected a sensor's shape (height, width) in pixels, got {shape!r}; give both")
        order = np.argsort(columns["t"], kind="stable")
        t, x, y, p = (columns[name][order].astype(np.int64) for name in "txyp")
        if shape is None:
            far = {name: int(values.max(initial=0)) for name, values in (("x", x), ("y", y))}
            if max(far.values()) >= SIDE:
                raise DataError(f"{place}: expected pixels below {SIDE}, got {far}; correct the file, or name its size")
            shape = (int(y.max(initial=0)) + 1, int(x.max(initial=0)) + 1)
        inside = (x >= 0) & (x < shape[1]) & (y >= 0) & (y < shape[0])
        if not inside.all():
            i = int(np.argmin(inside))
            raise DataError(
                f"{place}: expected pixels on a sensor of {shape[1]}x{shape[0]}, got x={x[i]}, y={y[i]}; name its size"
            )
        if not (np.isin(p, (0, 1)).all() or np.isin(p, (-1, 1)).all()):
            raise DataError(f"{place}: expected p of 0 and 1, or of -1 and 1, got {sorted(set(p.tolist()))[:4]}")
        return cls(t, x.astype(np.int32), y.astype(np.int32), (p > 0).astype(np.int8), shape)


def _is_size(shape: Any) -> bool:
    """Whether it is (height, width)."""
    pair = isinstance(shape, Sequence) and len(shape) == 2
    return pair and all(isinstance(side, int | np.integer) and side > 0 for side in shape)
