"""How accuracy is measured, the same way for every model: decisions of the leaky readout along a stream.

Shapes: S steps, N streams or samples, K classes.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from edgesnn.data import Dataset, Images
from edgesnn.errors import ConfigError, DataError, TrainingError
from edgesnn.layers import leaky_integrate
from edgesnn.models import Network, evaluating


@dataclass(frozen=True, eq=False)
class Evaluation:
    """confusion [K, K]: row is the label, column the decision."""

    confusion: NDArray[np.int64]

    @property
    def samples(self) -> int:
        """Scored steps (images: scored images)."""
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float:
        return float(np.trace(self.confusion) / self.samples)

    def __add__(self, other: "Evaluation") -> "Evaluation":
        return Evaluation(self.confusion + other.confusion)


def score(accumulated: ArrayLike, y: ArrayLike) -> Evaluation:
    """Confusion of argmax(accumulated [S, N, K]) (lowest index on ties) against y [S, N], where -1 is not scored.
    TrainingError for NaN, of which there is no largest.
    """
    values, labels = np.asarray(accumulated), np.asarray(y)
    classes = values.shape[-1]
    scored = labels >= 0
    _check_labels("score", labels, classes)
    if np.isnan(values).any():
        raise TrainingError(
            "score: expected logits that are numbers, got NaN; look for NaN, infinity or too large values in the data "
            "and the network"
        )
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (labels[scored], values.argmax(axis=-1)[scored]), 1)
    return Evaluation(confusion)


def check_split(net: Network, data: Dataset, split: str) -> None:
    """ConfigError or DataError for a split, not empty, on which `net` cannot be measured sample by sample."""
    _check_split_labels(net, data, split)
    part = data.split(split)
    if not isinstance(part, Images) and max(len(recording.rows) for recording in part) < data.stream_frame.length:
        raise _no_frame(data, split)


def _check_split_labels(net: Network, data: Dataset, split: str) -> None:
    part = data.split(split)
    labels = part.labels if isinstance(part, Images) else [recording.label for recording in part]
    _check_labels(f"data '{data.name}': {split}", labels, net.classes)


def _check_labels(where: str, labels: ArrayLike, classes: int) -> None:
    highest = int(np.max(labels, initial=-1))
    if highest >= classes:
        raise ConfigError(
            f"{where}: expected labels of 0 to {classes - 1}, as the network has classes, got {highest}; "
            f"build it with classes={highest + 1}"
        )


def _no_frame(data: Dataset, split: str) -> DataError:
    return DataError(
        f"data '{data.name}': {split}: expected a recording with the {data.stream_frame.length} rows of a frame, got "
        "none; use a shorter frame, or longer recordings"
    )


def evaluate(
    net: Network, data: Dataset, split: str = "test", continuous: bool = False, steps: int | None = None
) -> Evaluation:
    """Accuracy of a network on one split, by the protocol of `Dataset.evaluation_batches`.

    Any other implementation of the network is measured alike: feed it the same batches, step by step, and add up
    `score` of its accumulated readout. TrainingError where there is nothing to decide by: NaN in the network or in what
    it answers.
    """
    if steps is not None and steps < 1:
        raise ConfigError(f"evaluate: expected steps >= 1, got {steps}; leave it out for the data's own")
    _check_split_labels(net, data, split)
    for name, tensor in (*net.named_parameters(), *net.named_buffers()):  # spikes hide NaN, which is below every theta
        if tensor.isnan().any():
            raise TrainingError(
                f"evaluate: expected a network of numbers, got NaN in '{name}'; take an earlier checkpoint, or train "
                "it again with a lower lr"
            )
    total = Evaluation(np.zeros((net.classes, net.classes), np.int64))
    with evaluating(net), torch.no_grad():
        for x, y in data.evaluation_batches(split, steps, continuous):
            if not len(x):
                raise _no_frame(data, split)
            total += score(leaky_integrate(net.readout, net(placed(x, net))).cpu().double(), y)
    return total


def placed(x: Tensor, net: nn.Module) -> Tensor:
    """x [T, N, ...] on the device of a network and in its dtype. An image that stands still stays one."""
    like = next(net.parameters())
    frames = x[:1] if x.stride(0) == 0 else x
    return frames.to(like.device, like.dtype).expand(x.shape)
