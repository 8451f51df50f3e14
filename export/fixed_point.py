"""Real-valued factors as fixed-point multipliers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesnn.errors import ExportError

Array = NDArray[Any]

#: Multipliers stay below 2^30, so that they and their sums with a carry fit int32.
MULTIPLIER_LIMIT = 2**30
#: float64 holds every integer below this exactly.
EXACT = 2**53
Q15 = 2**15


def multiplier(factor: Array, largest: int, place: str) -> tuple[Array, int]:
    """(M, n) with M = round(factor * 2^n), the finest n for which the rescale stays exact.

    Args:
        factor: real factors, one per channel.
        largest: bound on |a|, the accumulator they multiply.
        place: layer name for errors.

    Raises:
        ExportError: a factor is not finite, or too large for 30 bits.
    """
    if not np.isfinite(factor).all():
        raise ExportError(
            f"{place}: expected finite scales, got {factor[~np.isfinite(factor)][0]}; "
            "check the norm's variance and the weights"
        )
    peak = float(np.abs(factor).max())
    for shift in range(46, 0, -1):
        m = np.rint(factor * 2.0**shift)
        top = int(np.abs(m).max())
        if top < MULTIPLIER_LIMIT and largest * top + 2 ** (shift - 1) < EXACT:
            return m.astype(np.int32), shift
    raise ExportError(
        f"{place}: expected a scale that fits 30 bits and 53-bit products, got {peak:g} with accumulators "
        f"up to {largest}; reduce the fan-in or the weights' scale"
    )


def rounded(values: Array, place: str) -> Array:
    """round(values) as int32.

    Raises:
        ExportError: a value is outside int32.
    """
    result = np.rint(np.asarray(values, np.float64))
    if not (np.abs(result) < 2**31).all():
        raise ExportError(
            f"{place}: expected offsets within int32, got {np.abs(result).max():g}; check the norm's variance"
        )
    return result.astype(np.int32)
