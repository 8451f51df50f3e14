"""Event data sets: streams as frames over time, from a folder of recordings or simulated from digits."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgesnn import cache
from edgesnn.data.arrays import from_images
from edgesnn.data.dataset import SPLITS, Clips, Dataset
from edgesnn.data.events import Events, Saccades, event_frames, read_events, simulate
from edgesnn.data.images import MNIST5K_SHA256, mnist5k
from edgesnn.errors import DataError

STEPS = 10
_FORMAT = 1  # counts up when the same settings would give other frames
_SHARES = (0.6, 0.2)  # of training and validation, in a folder of recordings
_SPLIT_SEED = 0


def simulated_events(steps: int = STEPS, camera: Saccades | None = None) -> Dataset:
    """Simulated event streams of the 5,000 digits of `mnist5k` (see `edgesnn.data.events.saccades`), in its splits.

    Each stream is `steps` frames of 2x34x34 event counts over 300 ms, of 8 bits as in `from_events`. Computed once and
    kept in the user's cache.
    """
    camera = Saccades() if camera is None else camera
    source = mnist5k()
    settings = json.dumps(
        {"format": _FORMAT, "images": MNIST5K_SHA256, "steps": steps, "camera": asdict(camera)}, sort_keys=True
    )
    path = cache.folder("simulated-events") / f"{hashlib.sha256(settings.encode()).hexdigest()[:16]}.npz"
    if path.is_file():
        with np.load(path) as file:
            frames = {name: file[name] for name in SPLITS}
    else:
        frames = {name: _simulated(source.split(name).values[:, 0], steps, camera) for name in SPLITS}  # type: ignore[union-attr]
        partial = path.with_suffix(".part.npz")
        np.savez_compressed(partial, **frames)
        partial.replace(path)
    clips = {name: Clips(frames[name], source.split(name).labels) for name in SPLITS}  # type: ignore[union-attr]
    return from_images(clips["train"], clips["validation"], clips["test"], source.classes, name="simulated-events")


def _simulated(images: NDArray[np.generic], steps: int, camera: Saccades) -> NDArray[np.uint8]:
    streams = simulate(images.astype(np.float32), camera)
    return np.stack([_bytes(event_frames(events, steps, camera.duration_us)) for events in streams])


def from_events(folder: str | Path, steps: int = STEPS, shape: tuple[int, int] | None = None) -> Dataset:
    """A data set from FOLDER/CLASS/RECORDING, each file as `read_events` takes it, as `steps` frames of event counts.

    Counts have 8 bits, as the inputs of devices have: more than 255 events of a pixel, polarity and frame count as 255.
    Where that happens, more steps keep them apart.

    A fixed shuffle of each class: its first 60 % train, the next 20 % validation, the rest test. shape: (height, width)
    of the sensor; without it the largest that a file names or needs.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder of recordings, found none there")
    classes = tuple(sorted(path.name for path in folder.iterdir() if path.is_dir()))
    if len(classes) < 2:
        raise DataError(f"{folder}: expected a folder of recordings for each of at least 2 classes, got {len(classes)}")
    parts: dict[str, list[tuple[Events, int]]] = {name: [] for name in SPLITS}
    for label, name in enumerate(classes):
        files = sorted(path for path in (folder / name).iterdir() if path.is_file())
        order = np.random.default_rng(_SPLIT_SEED).permutation(len(files))
        cuts = np.cumsum([round(share * len(files)) for share in _SHARES])
        for part, indexes in zip(parts.values(), np.split(order, cuts), strict=True):
            if not len(indexes):
                raise DataError(f"{folder / name}: expected at least 4 recordings, got {len(files)}; add some")
            part += [(read_events(files[i], shape), label) for i in indexes]
    found = [events.shape for part in parts.values() for events, _ in part]
    sensor = (max(height for height, _ in found), max(width for _, width in found))
    clips = {}
    for name, part in parts.items():
        streams = [Events(e.t, e.x, e.y, e.p, sensor) for e, _ in part]
        values = np.stack([_bytes(event_frames(events, steps)) for events in streams])
        clips[name] = Clips(values, np.array([label for _, label in part], np.int64))
    return from_images(clips["train"], clips["validation"], clips["test"], classes, name=folder.name)


def _bytes(counts: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Counts that end at 255."""
    return np.minimum(counts, 255).astype(np.uint8)
