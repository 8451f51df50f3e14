"""Accuracy of an exported integer model, by the protocol that measures the networks it came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgesnn.data.dataset import Clips, Images
from edgesnn.errors import DataError
from edgesnn.evaluation import Evaluation, score
from edgesnn.runtime.model import Array, Model
from edgesnn.runtime.ort import run_still, run_streams

if TYPE_CHECKING:
    from torch import Tensor

    from edgesnn.data import Dataset


def integer_frames(model: Model, x: Tensor) -> Array:
    """Normalized frames [S, N, ...] as the integers of the model's input, [S, N, *input shape]."""
    limits = np.iinfo(model.input.dtype)
    frames = np.clip(np.rint(x.numpy() / model.input.scale), limits.min, limits.max).astype(model.input.dtype)
    return frames.reshape(*frames.shape[:2], *model.input.shape)


def evaluate_integer(
    model: Model, data: Dataset, split: str = "test", continuous: bool = False, steps: int | None = None
) -> Evaluation:
    """Decisions of the integer model on one split; see `edgesnn.evaluate` for the protocol.

    Images that stand still run in windows of one frame, where the model was exported with them.

    Raises:
        DataError: the split is empty.
    """
    total: Evaluation | None = None
    samples = data.split(split)
    still = isinstance(samples, Images) and not isinstance(samples, Clips) and model.window.held
    for x, y in data.evaluation_batches(split, steps, continuous):
        frames = integer_frames(model, x)
        whole = still and model.window.takes(len(frames))
        part = score(run_still(model, frames[0], len(frames)) if whole else run_streams(model, frames), y)
        total = part if total is None else total + part
    if total is None:
        raise DataError(f"data '{data.name}': the split '{split}' is empty")
    return total
