"""Accuracy of an exported integer model, by the protocol that measures the networks it came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgesnn.errors import DataError
from edgesnn.evaluation import Evaluation, score
from edgesnn.runtime.model import Model
from edgesnn.runtime.ort import run_streams

if TYPE_CHECKING:
    from edgesnn.data import Dataset


def evaluate_integer(
    model: Model, data: Dataset, split: str = "test", continuous: bool = False, steps: int | None = None
) -> Evaluation:
    """Decisions of the integer model on one split; see `edgesnn.evaluate` for the protocol.

    Raises:
        DataError: the split is empty.
    """
    limits = np.iinfo(model.input.dtype)
    total: Evaluation | None = None
    for x, y in data.evaluation_batches(split, steps, continuous):
        frames = np.clip(np.rint(x.numpy() / model.input.scale), limits.min, limits.max).astype(model.input.dtype)
        part = score(run_streams(model, frames.reshape(*frames.shape[:2], *model.input.shape)), y)
        total = part if total is None else total + part
    if total is None:
        raise DataError(f"data '{data.name}': the split '{split}' is empty")
    return total
