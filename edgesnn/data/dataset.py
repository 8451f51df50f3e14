"""What a data set is: named splits of recordings (streams of sensor rows) or of images, and their normalization.

Shapes: L rows of a recording, C channels, S steps, N samples.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgesnn.data.variation import SENSOR_AXES, Variation
from edgesnn.errors import DataError

if TYPE_CHECKING:
    import torch
SPLITS = ("train", "validation", "test")
Statistics = tuple[NDArray[np.float64], NDArray[np.float64]]  # mean and standard deviation


@dataclass(frozen=True)
class Frame:
    """What a network sees of a stream: the last `length` rows of `channels` values, flattened row by row; a new frame
    every `hop` rows.
    """

    length: int
    hop: int
    channels: int

    def __post_init__(self) -> None:
        if min(self.length, self.hop, self.channels) < 1:
            raise DataError(f"frame: expected length, hop and channels of at least 1, got {self}; give larger ones")


@dataclass(frozen=True, eq=False)
class Recording:
    """Consecutive rows [L, C] in sensor units with one label (class index)."""

    id: int
    rows: NDArray[np.float32]
    label: int
    person: int | None = None
    arm: str | None = None

    def __post_init__(self) -> None:
        _check_numbers(f"recording {self.id}: rows", self.rows)
        if not isinstance(self.label, int | np.integer):
            raise DataError(
                f"recording {self.id}: expected the number of a class as label, got {self.label!r}; use its place in "
                "the list of classes"
            )


@dataclass(frozen=True, eq=False)
class Images:
    """values [N, C, H, W], or [N, C, L] of one axis, as stored by the source, labels [N]."""

    channels: ClassVar[int] = 1  # which axis of the values they are
    layouts: ClassVar[tuple[str, ...]] = ("[N, F]", "[N, C, L]", "[N, C, H, W]")

    values: NDArray[np.float32] | NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        _check_numbers("images: values", self.values)
        _check_numbers("images: labels", self.labels)
        if self.values.ndim not in {layout.count(",") + 1 for layout in self.layouts}:
            raise DataError(
                f"{type(self).__name__}: expected values {' or '.join(self.layouts)}, got shape {self.values.shape}; "
                "reshape them"
            )
        if self.labels.shape != self.values.shape[:1]:
            raise DataError(
                f"images: expected a label for each of {len(self.values)} images, got labels of shape "
                f"{self.labels.shape}; give as many"
            )
        if self.labels.dtype != np.int64:
            raise DataError(f"images: expected labels of int64, got {self.labels.dtype}; use labels.astype(np.int64)")

    def __len__(self) -> int:
        return len(self.labels)


class Clips(Images):
    """Images that move: values [N, T, C, H, W], one frame a time step."""

    channels: ClassVar[int] = 2
    layouts: ClassVar[tuple[str, ...]] = ("[N, T, C, H, W]",)


Split = tuple[Recording, ...] | Images


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set with its splits. mean and std: one value a channel, from the training split alone.

    A channel is the last axis of a row for streams, the first axis of an image. `frame` and `rate_hz` (rows a second)
    are None for images; `steps` is the number of time steps that training and evaluation use unless told otherwise.
    Training moves each image by up to `shift` pixels, and changes each window of a stream by a drawn `variation`.
    """

    name: str
    classes: tuple[str, ...]
    input_shape: tuple[int, ...]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    rate_hz: float | None
    frame: Frame | None
    steps: int
    train: Split
    validation: Split
    test: Split
    shift: int = 0
    variation: Variation | None = None
    channels: tuple[str, ...] = ()  # names of a row's values, in order; empty where they have none

    def __post_init__(self) -> None:
        where = f"data '{self.name}'"
        for split in SPLITS:
            self._check(f"{where}: {split}", self.split(split))
        for what, values in (("mean", self.mean), ("std", self.std)):
            if not isinstance(values, np.ndarray) or values.ndim != 1 or not np.isfinite(values).all():
                raise DataError(f"{where}: {what}: expected an array of a finite number a channel, got {values!r}")
        if not (self.std > 0).all():
            raise DataError(f"{where}: std: expected numbers above 0, got {self.std.min()}; drop what never changes")
        if len(set(self.classes)) != len(self.classes):
            raise DataError(f"{where}: expected classes of different names, got {list(self.classes)}; rename some")
        if self.steps < 1:
            raise DataError(f"{where}: steps: expected at least 1, got {self.steps}; give more")
        if (
            not isinstance(self.shift, int | np.integer)
            or self.shift < 0
            or (self.shift and len(self.input_shape) != 3)
        ):
            raise DataError(
                f"{where}: shift: expected pixels to move samples [C, H, W] by, got {self.shift} for samples of shape "
                f"{self.input_shape}; leave it out"
            )
        if self.variation is not None and self.stream_frame.channels != SENSOR_AXES:
            raise DataError(
                f"{where}: variation: expected rows of the {SENSOR_AXES} axes of an inertial sensor, got "
                f"{self.stream_frame.channels}; leave it out"
            )

    def _check(self, where: str, split: Split) -> None:
        """That samples are numbers of the shape that a network gets, and that each has a class."""
        expected, got = _kind(self.train), _kind(split)
        if got != expected:
            raise DataError(f"{where}: expected {expected}, as the training split has, got {got}; give one kind")
        if isinstance(split, Images):
            shape, labels = split.values.shape[split.channels :], set(np.unique(split.labels).tolist())
            if shape != tuple(self.input_shape):
                raise DataError(f"{where}: expected samples of shape {self.input_shape}, got {shape}; give one shape")
        else:
            labels = {recording.label for recording in split}
            for recording in split:
                rows, width = recording.rows.shape, self.stream_frame.channels
                if len(rows) != 2 or rows[1] != width:
                    raise DataError(
                        f"{where}: recording {recording.id}: expected rows [L, {width}] as the frame says, got {rows}"
                    )
                finite = np.isfinite(recording.rows).all(axis=1)
                if not finite.all():
                    raise DataError(
                        f"{where}: recording {recording.id}: expected finite rows, got NaN or infinity in row "
                        f"{int(np.argmin(finite))}; clean it first"
                    )
        if labels and not 0 <= min(labels) <= max(labels) < len(self.classes):
            raise DataError(
                f"{where}: expected labels 0 to {len(self.classes) - 1}, got {min(labels)} to {max(labels)}; "
                "name every class"
            )

    def split(self, name: str) -> Split:
        if name not in SPLITS:
            raise DataError(f"split: expected one of {list(SPLITS)}, got {name!r}")
        split: Split = getattr(self, name)
        return split

    def normalize(self, values: NDArray[np.floating] | NDArray[np.uint8]) -> NDArray[np.float32]:
        """(values - mean) / std, per channel: rows [..., C] of a stream, or images [..., C, H, W] or [..., C, L]."""
        shape = (-1,) if self.frame else (-1, *[1] * (len(self.input_shape) - 1))
        result: NDArray[np.float32] = ((values - self.mean.reshape(shape)) / self.std.reshape(shape)).astype(np.float32)
        return result

    def merged(self) -> "Dataset":
        """The same data with the validation split joined to the training split (and none left), normalized by both:
        for a last training with settings that are already chosen.
        """
        train, validation = self.train, self.validation
        if isinstance(train, Images) or isinstance(validation, Images):
            parts = [part for part in (train, validation) if isinstance(part, Images)]
            kind = type(parts[0])
            images = kind(
                np.concatenate([part.values for part in parts]), np.concatenate([part.labels for part in parts])
            )
            mean, std = pixel_statistics(images)
            nothing = kind(images.values[:0], images.labels[:0])
            return replace(self, train=images, validation=nothing, mean=mean, std=std)
        recordings = tuple(sorted(train + validation, key=lambda recording: recording.id))
        mean, std = row_statistics(recordings)
        return replace(self, train=recordings, validation=(), mean=mean, std=std)

    @property
    def stream_frame(self) -> Frame:
        """`frame` of a stream; DataError for images."""
        if self.frame is None:
            raise DataError(f"data '{self.name}': expected a stream of sensor rows, got images")
        return self.frame

    def training_batches(
        self, steps: int, batch_size: int, generator: "torch.Generator"
    ) -> Iterator[tuple["torch.Tensor", "torch.Tensor"]]:
        """One epoch of shuffled batches x [steps, N, *input_shape] (normalized), y [N]."""
        from edgesnn.data.batches import training_batches

        return training_batches(self, steps, batch_size, generator)

    def evaluation_batches(
        self, split: str, steps: int | None = None, continuous: bool = False
    ) -> Iterator[tuple["torch.Tensor", "torch.Tensor"]]:
        """Batches x [S, N, *input_shape] (normalized), y [S, N] int64 where -1 is a step that is not scored.

        Images and clips: S = steps (None: the data set's), only the last step is scored. Streams: N recordings from
        their first row to their last (`steps` has no meaning); with `continuous`, N people, the recordings of a person
        following each other without a reset.
        """
        from edgesnn.data.batches import evaluation_batches

        return evaluation_batches(self, split, steps, continuous)


def frames(rows: NDArray[np.floating], frame: Frame) -> NDArray[np.floating]:
    """Frames [S, length*channels] of rows [L, channels]; frame i ends with row length - 1 + i*hop."""
    if len(rows) < frame.length:
        return np.empty((0, frame.length * frame.channels), rows.dtype)
    # [S, channels, length]
    windows = np.lib.stride_tricks.sliding_window_view(rows, frame.length, axis=0)[:: frame.hop]
    return windows.transpose(0, 2, 1).reshape(len(windows), frame.length * frame.channels)


def row_statistics(recordings: Sequence[Recording]) -> Statistics:
    """Mean and standard deviation [C] over all rows, in float64; 1 for a channel that never changes."""
    rows = np.concatenate([recording.rows for recording in recordings]).astype(np.float64)
    return _usable(rows.mean(axis=0), rows.std(axis=0))


def pixel_statistics(images: Images) -> Statistics:
    """Mean and standard deviation [C] over all images and pixels, in float64; 1 for a channel that never changes."""
    values = np.moveaxis(images.values, images.channels, 0)
    axes = tuple(range(1, values.ndim))
    return _usable(values.mean(axis=axes, dtype=np.float64), values.std(axis=axes, dtype=np.float64))


def _usable(mean: NDArray[np.float64], std: NDArray[np.float64]) -> Statistics:
    """With a spread of 1 where it is none but float32's rounding: a border pixel or an idle sensor, which says nothing
    of its scale, then keeps its own units, instead of being blown up should it ever change.
    """
    return mean, np.where(std > np.finfo(np.float32).eps * np.abs(mean), std, 1.0)


def _kind(split: Split) -> str:
    if isinstance(split, Images):
        return "clips" if isinstance(split, Clips) else "images"
    return "recordings"


def _check_numbers(what: str, values: object) -> None:
    if not isinstance(values, np.ndarray):
        raise DataError(f"{what}: expected a NumPy array, got a {type(values).__name__}; use np.asarray")
    if values.dtype.kind not in "buif":
        raise DataError(f"{what}: expected numbers, got {values.dtype}; convert them")


def check_sha256(name: str, arrays: Sequence[NDArray[np.generic]], expected: str, package: str) -> None:
    """DataError if the arrays that a package delivered are not those that the published figures come from."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    if digest.hexdigest() != expected:
        raise DataError(
            f"data '{name}': expected sha256 {expected[:12]}..., got {digest.hexdigest()[:12]}...; install {package}"
        )
