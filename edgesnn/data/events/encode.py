"""From events to what a network sees. Shapes: T time steps (bins), H x W pixels."""

import numpy as np
from numpy.typing import NDArray

from edgesnn.data.events.stream import Events
from edgesnn.errors import DataError


def event_frames(events: Events, steps: int, duration_us: int | None = None) -> NDArray[np.int32]:
    """Events counted by time step, polarity and pixel: [T, 2, H, W], darker first.

    Step of an event: floor(T * (t - t0) / duration), t0 the first event. Without a duration the last event ends the
    last step; events behind a given duration are left out.

    Raises:
        DataError: less than one step, or a duration that is not above 0; both are whole numbers.
    """
    bins, inside = _bins(events, steps, duration_us)
    height, width = events.shape
    cell = ((bins * 2 + events.p) * height + events.y) * width + events.x
    counts = np.bincount(cell[inside], minlength=steps * 2 * height * width)
    return counts.reshape(steps, 2, height, width).astype(np.int32)


def _bins(events: Events, steps: int, duration_us: int | None) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    _check_steps(steps)
    if duration_us is not None and (not isinstance(duration_us, int | np.integer) or duration_us < 1):
        raise DataError(f"events: expected a duration of at least 1 microsecond, a whole number, got {duration_us}")
    if not len(events):
        return events.t, np.zeros(0, bool)
    since = events.t - events.t[0]
    duration = int(since[-1]) + 1 if duration_us is None else duration_us
    return since * steps // duration, since < duration


def voxel_grid(events: Events, bins: int) -> NDArray[np.float32]:
    """Signed events shared between the two nearest of B points in time (Zhu et al., CVPR 2019, eq. 1-2): [B, H, W].

    V(b, y, x) = sum_i p_i * max(0, 1 - |b - t*_i|), t*_i = (B - 1) * (t_i - t_0) / (t_last - t_0), p_i = +-1.
    """
    _check_steps(bins)
    height, width = events.shape
    if not len(events):
        return np.zeros((bins, height, width), np.float32)
    span = max(int(events.t[-1] - events.t[0]), 1)
    position = (bins - 1) * (events.t - events.t[0]) / span
    low = np.floor(position).astype(np.int64)
    fraction, sign = position - low, 2.0 * events.p - 1
    pixel = events.y * width + events.x
    grid = np.zeros((bins + 1) * height * width)  # the bin behind the last gets only zeros
    for bin_, share in ((low, 1 - fraction), (low + 1, fraction)):
        grid += np.bincount(bin_ * height * width + pixel, sign * share, len(grid))
    return grid[: bins * height * width].reshape(bins, height, width).astype(np.float32)


def _check_steps(steps: int) -> None:
    if not isinstance(steps, int | np.integer) or steps < 1:
        raise DataError(f"events: expected at least 1 time step, a whole number, got {steps}")
