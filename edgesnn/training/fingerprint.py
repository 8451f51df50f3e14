"""What a training knows its data by, so that a checkpoint goes on with the same data alone."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesnn.checkpoint import plain
from edgesnn.data import Dataset, Images
from edgesnn.data.dataset import Split


def fingerprint(data: Dataset) -> dict[str, Any]:
    """Name, frame, numbers of samples, and a digest of all else that training and validation take from a data set.

    Mean and deviation count to nine digits: another order of summation is no other data.
    """
    splits = {"train": data.train, "validation": data.validation}
    statistics = [[f"{value:.9g}" for value in values.tolist()] for values in (data.mean, data.std)]
    variation = None if data.variation is None else asdict(data.variation)
    settings = [len(data.classes), data.input_shape, data.shift, variation, statistics]
    digest = hashlib.blake2b(json.dumps(plain(settings, f"data '{data.name}'"), sort_keys=True).encode(), digest_size=8)
    for split in splits.values():
        for array in _arrays(split):
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
    return {
        "data": data.name,
        "data_frame": None if data.frame is None else asdict(data.frame),
        "data_samples": {name: len(split) for name, split in splits.items()},
        "data_values": digest.hexdigest(),
    }


def _arrays(split: Split) -> Iterator[NDArray[np.generic]]:
    """Values and labels of a split, sample by sample where they differ in length."""
    if isinstance(split, Images):
        yield split.values
        yield split.labels
        return
    for recording in split:
        yield recording.rows
    yield np.array([recording.label for recording in split], np.int64)
