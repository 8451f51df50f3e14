"""Data sets from arrays in memory, and from a file of them: images, clips, and recordings of a sensor."""

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from edgesnn.data.dataset import SPLITS, Clips, Dataset, Frame, Images, Recording, pixel_statistics, row_statistics
from edgesnn.data.variation import Variation
from edgesnn.errors import DataError

#: Time steps for which an image stands still.
_STEPS = 4
_ARRAYS = [f"{split}_{what}" for split in SPLITS for what in ("x", "y")]


def from_images(
    train: Images,
    validation: Images | None,
    test: Images,
    classes: Sequence[str] | None = None,
    *,
    name: str = "images",
    steps: int | None = None,
    shift: int = 0,
) -> Dataset:
    """A data set of images, features ([N, F], each normalized by itself) or clips, all of one sample shape.

    Args:
        train: its mean and spread, one a channel, normalize all splits; a channel that never changes there is not
            divided by its spread.
        validation: None is no such split; settings are then for another data set to choose.
        test: looked at once, at the end.
        classes: a name for each label; None is the numbers of the labels of `train`.
        name: of the data, and of the models that are exported for it.
        steps: time steps of training and evaluation unless told otherwise; None is 4, and of clips their T.
        shift: training moves each image [C, H, W], or clip of them, by up to so many pixels.

    Raises:
        DataError: samples of several shapes, no training images, a value that is not finite, a label without a class.
    """
    for images in (train, test) if validation is None else (train, validation, test):
        if not isinstance(images, Images):
            raise DataError(
                f"data '{name}': expected Images(values, labels) or Clips(values, labels), got a "
                f"{type(images).__name__}; make one of the arrays"
            )
    if validation is None:
        validation = type(train)(train.values[:0], train.labels[:0])
    if not len(train):
        raise DataError(f"data '{name}': expected images to train with, got none; give some")
    numbers = range(1 + int(train.labels.max())) if classes is None else classes
    names = tuple(str(number) for number in numbers)
    for split, images in zip(SPLITS, (train, validation, test), strict=True):
        if not np.isfinite(images.values).all():
            raise DataError(f"data '{name}': {split}: expected finite values, got NaN or infinity; clean them first")
    mean, std = pixel_statistics(train)
    return Dataset(
        name=name,
        classes=names,
        input_shape=train.values.shape[train.channels :],
        mean=mean,
        std=std,
        rate_hz=None,
        frame=None,
        steps=(train.values.shape[1] if isinstance(train, Clips) else _STEPS) if steps is None else steps,
        train=train,
        validation=validation,
        test=test,
        shift=shift,
    )


def from_recordings(
    train: Iterable[Recording],
    validation: Iterable[Recording],
    test: Iterable[Recording],
    classes: Sequence[str],
    frame: Frame,
    *,
    name: str = "stream",
    rate_hz: float | None = None,
    channels: Sequence[str] = (),
    variation: Variation | None = None,
    steps: int = 16,
) -> Dataset:
    """A data set of recordings of a sensor, cut into frames; normalized by the mean and spread of the rows of `train`.

    Args:
        train: recordings, whose rows say what is normal; a channel that never changes there is not divided by its
            spread.
        validation: recordings to choose settings on; there may be none.
        test: recordings to look at once, at the end.
        classes: a name for each label.
        frame: how many rows a network sees at a time, every how many rows, and how many values a row has.
        name: of the data, and of the models that are exported for it.
        rate_hz: rows a second.
        channels: names of a row's values; () where they have none.
        variation: what training changes of each window, of a 6-axis inertial sensor.
        steps: frames of a training window unless told otherwise.

    Raises:
        DataError: no training recordings, rows of another width than the frame's or not finite, a label without a
            class.
    """
    splits = tuple(train), tuple(validation), tuple(test)
    if not splits[0]:
        raise DataError(f"data '{name}': expected recordings to train with, got none; give some")
    for split, recordings in zip(SPLITS, splits, strict=True):
        for recording in recordings:
            if not isinstance(recording, Recording):
                raise DataError(
                    f"data '{name}': {split}: expected Recording(id, rows, label), got a {type(recording).__name__}; "
                    "make one of the rows"
                )
    checked = Dataset(
        name=name,
        classes=tuple(classes),
        input_shape=(frame.length * frame.channels,),
        mean=np.zeros(frame.channels),
        std=np.ones(frame.channels),
        rate_hz=rate_hz,
        frame=frame,
        steps=steps,
        train=splits[0],
        validation=splits[1],
        test=splits[2],
        variation=variation,
        channels=tuple(channels),
    )
    mean, std = row_statistics(splits[0])
    return replace(checked, mean=mean, std=std)


def from_npz(path: Path) -> Dataset:
    """Images of a NumPy file: arrays train_x [N, C, H, W] (or as `from_images` takes them), train_y [N], and the same
    for validation and test; `classes`, names, is optional.
    """
    try:
        with path.open("rb") as source, NpzFile(source, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (BadZipFile, OSError, ValueError, EOFError, RuntimeError, zlib.error) as error:
        raise DataError(f"{path}: expected a .npz file of arrays, got {error}; write it with numpy.savez") from None
    missing = [name for name in _ARRAYS if name not in arrays]
    if missing:
        raise DataError(f"{path}: expected arrays {_ARRAYS}, got none called {missing}; add them, of 0 rows if need be")
    train, validation, test = (_images(path, split, arrays[f"{split}_x"], arrays[f"{split}_y"]) for split in SPLITS)
    classes = None
    if "classes" in arrays:
        if arrays["classes"].ndim != 1:
            raise DataError(
                f"{path}: classes: expected names [number of classes], got shape {arrays['classes'].shape}; make a list"
            )
        classes = [str(entry) for entry in arrays["classes"]]
    return from_images(train, validation, test, classes, name=path.stem)


def _images(path: Path, split: str, x: NDArray[np.generic], y: NDArray[np.generic]) -> Images:
    if x.dtype.kind not in "uif" or y.dtype.kind not in "ui" or x.ndim not in (2, 3, 4) or y.ndim != 1:
        raise DataError(
            f"{path}: {split}: expected x of 2 to 4 axes of numbers and y of one axis of integers, got {x.dtype} "
            f"{x.shape} and {y.dtype} {y.shape}; convert them"
        )
    labels = y.astype(np.int64)
    return Images(x.astype(np.uint8), labels) if x.dtype == np.uint8 else Images(x.astype(np.float32), labels)
