"""Simulated event streams: an event camera that moves in three saccades before a still image.

The movement is that of the recordings of Orchard et al. (2015): three saccades of 100 ms along a triangle, back to the
start. A pixel emits an event each time its log intensity has moved by a threshold from where it last emitted, at the
interpolated time of the crossing; there is no noise. These are simulations and never replace recordings of a sensor.

Shapes: N images, H x W pixels of the sensor.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from edgesnn.data.events.stream import Events
from edgesnn.errors import DataError

_CHUNK = 250  # images simulated at a time; bounds memory, has no effect on results


@dataclass(frozen=True)
class Saccades:
    """The camera: its sensor's height and width, how far it moves (pixels), how long a saccade takes, how finely the
    path is sampled, and the contrast threshold on log(intensity / white + floor).
    """

    side: int = 34
    reach: float = 3.0
    saccade_us: int = 100_000
    samples: int = 20  # of a saccade; the log intensity is linear between two
    threshold: float = 0.2
    floor: float = 0.05

    @property
    def duration_us(self) -> int:
        return 3 * self.saccade_us

    def path(self) -> NDArray[np.float64]:
        """Offsets (down, right) [3*samples + 1, 2] of the image in pixels: down right, up right, back left."""
        corners = np.array([[0.0, 0.0], [1.0, 0.5], [0.0, 1.0], [0.0, 0.0]]) * self.reach - self.reach / 2
        part = np.arange(self.samples)[:, None] / self.samples
        legs = [a + part * (b - a) for a, b in pairwise(corners)]
        return np.concatenate([*legs, corners[-1:]])


def simulate(images: NDArray[np.floating] | NDArray[np.uint8], camera: Saccades | None = None) -> Iterator[Events]:
    """One event stream for each image [N, h, w] of 0-255, in their order."""
    camera = Saccades() if camera is None else camera
    room = camera.side - np.ceil(camera.reach)
    if images.ndim != 3 or max(images.shape[1:]) > room:
        raise DataError(
            f"simulated events: expected images [N, h, w] of at most {room:.0f} pixels a side, got {images.shape}"
        )
    for start in range(0, len(images), _CHUNK):
        yield from _simulate_chunk(np.asarray(images[start : start + _CHUNK], np.float32), camera)


def _simulate_chunk(images: NDArray[np.float32], camera: Saccades) -> Iterator[Events]:
    scene = _centred(images, camera)
    shape, count = (camera.side, camera.side), len(images)
    path = camera.path()
    interval_us = camera.duration_us / (len(path) - 1)
    before = _log_intensity(scene, path[0], camera)
    emitted_at = before.copy()  # log intensity of a pixel's last event
    found: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]] = []  # cell, time, brighter
    for number, offset in enumerate(path[1:]):
        now = _log_intensity(scene, offset, camera)
        crossings = np.trunc((now - emitted_at) / camera.threshold)
        (cells,) = np.nonzero(crossings.ravel())
        changes = crossings.ravel()[cells]
        repeats = np.abs(changes).astype(np.int64)
        cell, sign = np.repeat(cells, repeats), np.repeat(np.sign(changes), repeats)
        nth = np.arange(len(cell)) - np.repeat(np.cumsum(repeats) - repeats, repeats) + 1
        crossed = emitted_at.ravel()[cell] + sign * nth * camera.threshold
        old, new = before.ravel()[cell], now.ravel()[cell]
        change = np.where(new == old, 1, new - old)  # a crossing on a still pixel is one of rounding
        fraction = np.clip((crossed - old) / change, 0, 1)
        found.append((cell, ((number + fraction) * interval_us).astype(np.int64), sign > 0))
        emitted_at += crossings * camera.threshold
        before = now
    cell, t, p = (np.concatenate(parts) for parts in zip(*found, strict=True))
    pixels = camera.side**2
    order = np.lexsort((t, cell // pixels))
    cell, t, p = cell[order], t[order], p[order].astype(np.int8)
    ends = np.searchsorted(cell // pixels, np.arange(count + 1))
    y, x = (values.astype(np.int32) for values in np.divmod(cell % pixels, camera.side))
    for low, high in pairwise(ends):
        part = slice(low, high)
        yield Events(t[part], x[part], y[part], p[part], shape)


def _centred(images: NDArray[np.float32], camera: Saccades) -> NDArray[np.float32]:
    """The images in the middle of black scenes [N, side + 2, side + 2]: one pixel more on each side to interpolate."""
    scene = np.zeros((len(images), camera.side + 2, camera.side + 2), np.float32)
    top, left = ((size - side) // 2 for size, side in zip(scene.shape[1:], images.shape[1:], strict=True))
    scene[:, top : top + images.shape[1], left : left + images.shape[2]] = images / 255
    return scene


def _log_intensity(scene: NDArray[np.float32], offset: NDArray[np.float64], camera: Saccades) -> NDArray[np.float32]:
    """log(intensity + floor) [N, side, side] of the scene moved by an offset in pixels, bilinearly interpolated."""
    whole = np.floor(offset).astype(int)
    down, right = (offset - whole).astype(np.float32)
    moved = np.roll(scene, (int(whole[0]), int(whole[1])), axis=(1, 2))
    rows = (1 - down) * moved[:, 1:-1] + down * moved[:, :-2]
    pixels = (1 - right) * rows[:, :, 1:-1] + right * rows[:, :, :-2]
    result: NDArray[np.float32] = np.log(pixels + np.float32(camera.floor))
    return result
