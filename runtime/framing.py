"""Rows become frames: what one time step of a model reads."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from edgesnn.runtime.model import Array, Model


def row_channels(model: Model) -> int:
    """How many values a row of this model's stream has."""
    return model.frame.channels if model.frame is not None else math.prod(model.input.shape)


def frame_rows(model: Model) -> tuple[int, int]:
    """Rows of a frame, and rows from one frame to the next."""
    return (model.frame.length, model.frame.hop) if model.frame is not None else (1, 1)


class Framer:
    """Collects rows into frames: the last `length` rows flattened row-major, one every `hop` rows.

    Holds `length` rows, however long the stream.
    """

    def __init__(self, model: Model) -> None:
        self.length, self.hop = frame_rows(model)
        self._shape = model.input.shape
        self._rows: deque[Array] = deque(maxlen=self.length)
        self._due = self.length  # rows until the next frame

    def push(self, row: Array) -> Array | None:
        """Take one row [channels]; return a frame of the model's input shape in sensor units when one is due."""
        self._rows.append(row)
        self._due -= 1
        if self._due:
            return None
        self._due = self.hop
        return np.concatenate(self._rows).reshape(self._shape)

    def clear(self) -> None:
        """Forget the rows: the next frame is made of rows that come from now on."""
        self._rows.clear()
        self._due = self.length
