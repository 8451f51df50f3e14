"""Packing of 1-bit weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def pack_signs(weights: Array) -> Array:
    """Weights +1/-1 [O, ...] -> uint8 [O, ceil(fan_in / 8)]; a set bit is +1, bit j of byte i is input 8i + j."""
    return np.packbits(weights.reshape(len(weights), -1) > 0, axis=1, bitorder="little")
