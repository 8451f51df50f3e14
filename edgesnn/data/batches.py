"""Tensors from data sets: shuffled windows for training, whole streams for evaluation.

Shapes: T or S time steps, N batch, L rows, C channels.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgesnn.data.dataset import Clips, Dataset, Images, Recording, frames
from edgesnn.data.variation import Draw, Variation, draw, varied
from edgesnn.errors import DataError

Batch = tuple[Tensor, Tensor]
Pixels = NDArray[np.floating] | NDArray[np.uint8]
EVALUATION_BATCH = 500  # images at a time; bounds memory, has no effect on results


def training_batches(data: Dataset, steps: int, batch_size: int, generator: torch.Generator) -> Iterator[Batch]:
    if steps < 1 or batch_size < 2:
        raise DataError(f"training batches: expected steps >= 1 and batch_size >= 2, got {steps} and {batch_size}")
    if isinstance(data.train, Images):
        return _image_training(data, data.train, steps, batch_size, generator)
    return _stream_training(data, data.train, steps, batch_size, generator)


def evaluation_batches(data: Dataset, split: str, steps: int | None, continuous: bool) -> Iterator[Batch]:
    part = data.split(split)
    if not len(part):
        raise DataError(f"data '{data.name}': the split '{split}' is empty")
    if isinstance(part, Images):
        if continuous:
            raise DataError(f"data '{data.name}': continuous evaluation needs a stream, these are images")
        return _image_evaluation(data, part, data.steps if steps is None else steps)
    return _stream_evaluation(data, part, continuous)


def _shuffled(data: Dataset, count: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Indexes in batches; a last batch of one sample is left out, because batch statistics need two."""
    if count < 2:
        what = "window" if data.frame else "sample"
        raise DataError(f"data '{data.name}': train: got {count} {what}{'' if count == 1 else 's'}, needs 2; add some")
    for batch in torch.randperm(count, generator=generator).split(batch_size):
        if len(batch) > 1:
            yield batch


def _image_training(
    data: Dataset, images: Images, steps: int, batch_size: int, generator: torch.Generator
) -> Iterator[Batch]:
    _check_steps(data, images, steps)
    border = [(0, 0)] * (images.values.ndim - 2) + [(data.shift, data.shift)] * 2
    pixels = np.pad(images.values, border) if data.shift else images.values
    for batch in _shuffled(data, len(images), batch_size, generator):
        crops = _random_crops(pixels[batch.numpy()], data.shift, generator)
        yield _over_time(data, crops, steps), torch.from_numpy(images.labels[batch.numpy()])


def _check_steps(data: Dataset, images: Images, steps: int) -> None:
    if isinstance(images, Clips) and steps != images.values.shape[1]:
        raise DataError(
            f"data '{data.name}': expected the {images.values.shape[1]} time steps of its clips, got {steps}; "
            "leave out steps, or load the data with as many"
        )


def _over_time(data: Dataset, values: Pixels, steps: int) -> Tensor:
    """Normalized x [T, N, C, H, W] of clips [N, T, C, H, W], or of images [N, C, H, W], which stand still."""
    x = torch.from_numpy(data.normalize(values))
    return x.transpose(0, 1) if x.dim() == 5 else x.expand(steps, *x.shape)


def _random_crops(x: Pixels, margin: int, generator: torch.Generator) -> Pixels:
    """x [N, ..., H + 2*margin, W + 2*margin] -> [N, ..., H, W], cut at a place drawn for each image or clip."""
    if margin == 0:
        return x
    count, *between, height, width = x.shape
    x = x.reshape(count, -1, height, width)
    top, left = torch.randint(2 * margin + 1, (2, count), generator=generator).numpy()
    rows = top[:, None] + np.arange(height - 2 * margin)  # [N, H]
    columns = left[:, None] + np.arange(width - 2 * margin)  # [N, W]
    crops = x[np.arange(count)[:, None, None], :, rows[:, :, None], columns[:, None, :]]  # [N, H, W, C]
    return crops.transpose(0, 3, 1, 2).reshape(count, *between, height - 2 * margin, width - 2 * margin)


def _image_evaluation(data: Dataset, images: Images, steps: int) -> Iterator[Batch]:
    _check_steps(data, images, steps)
    for start in range(0, len(images), EVALUATION_BATCH):
        part = slice(start, start + EVALUATION_BATCH)
        y = torch.from_numpy(images.labels[part].copy())  # torch refuses a reversed array
        scored = torch.full((steps, len(y)), -1)
        scored[-1] = y
        yield _over_time(data, images.values[part], steps), scored


def _stream_training(
    data: Dataset, recordings: tuple[Recording, ...], steps: int, batch_size: int, generator: torch.Generator
) -> Iterator[Batch]:
    """Windows of `steps` frames. Each recording is cut into windows that follow each other, from a first row that is
    drawn anew each epoch, so that an epoch sees nearly every row once and every phase sooner or later.
    """
    frame = data.stream_frame
    span = (steps - 1) * frame.hop + frame.length
    stride = steps * frame.hop
    _check_room(data, recordings, span, steps)
    windows, labels = [], []
    for recording in recordings:
        room = len(recording.rows) - span
        if room < 0:
            continue
        start = int(torch.randint(min(stride, room + 1), (1,), generator=generator))
        while start <= room:
            change = _drawn(data.variation, generator) if data.variation else None
            tempo = change.tempo if change else 1.0
            if start + tempo * (span - 1) > len(recording.rows) - 1:
                break
            rows = varied(recording.rows, start, span, change) if change else recording.rows[start : start + span]
            windows.append(data.normalize(rows))
            labels.append(recording.label)
            start += round(tempo * stride)
    for batch in _shuffled(data, len(windows), batch_size, generator):
        x = np.stack([frames(windows[i], frame) for i in batch.tolist()], axis=1)
        yield torch.from_numpy(x), torch.tensor([labels[i] for i in batch.tolist()])


def _check_room(data: Dataset, recordings: tuple[Recording, ...], span: int, steps: int) -> None:
    """That every class has a recording as long as a window, or it would never be learned."""
    longest: dict[int, int] = {}
    for recording in recordings:
        longest[recording.label] = max(longest.get(recording.label, 0), len(recording.rows))
    for label, rows in sorted(longest.items()):
        if rows < span:
            most = (rows - data.stream_frame.length) // data.stream_frame.hop + 1
            way_out = f"use at most {most} (--steps)" if most > 0 else "record longer"
            raise DataError(
                f"data '{data.name}': train: class '{data.classes[label]}': no recording has the {span} rows of "
                f"{steps} steps, the longest has {rows}; {way_out}"
            )


def _drawn(variation: Variation, generator: torch.Generator) -> Draw:
    return draw(variation, torch.randn(5, generator=generator, dtype=torch.float64).numpy())


def _stream_evaluation(data: Dataset, recordings: tuple[Recording, ...], continuous: bool) -> Iterator[Batch]:
    """All streams of the split side by side in one batch; shorter ones end with zeros that are not scored."""
    streams = [_frames_and_labels(data, stream) for stream in _streams(recordings, continuous)]
    longest = max(len(labels) for _, labels in streams)
    x = np.zeros((longest, len(streams), *data.input_shape), np.float32)
    y = np.full((longest, len(streams)), -1, np.int64)
    for n, (values, labels) in enumerate(streams):
        x[: len(labels), n], y[: len(labels), n] = values, labels
    yield torch.from_numpy(x), torch.from_numpy(y)


def _streams(recordings: tuple[Recording, ...], continuous: bool) -> list[list[Recording]]:
    if not continuous:
        return [[recording] for recording in recordings]
    people: dict[int | None, list[Recording]] = {}
    for recording in recordings:
        people.setdefault(recording.person, []).append(recording)
    return list(people.values())


def _frames_and_labels(data: Dataset, stream: list[Recording]) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
    """Frames over the joined rows; a frame's label is that of its last row."""
    frame = data.stream_frame
    rows = data.normalize(np.concatenate([recording.rows for recording in stream]))
    labels = np.concatenate([np.full(len(recording.rows), recording.label) for recording in stream])
    values = frames(rows, frame)
    return values, labels[frame.length - 1 :: frame.hop][: len(values)]
