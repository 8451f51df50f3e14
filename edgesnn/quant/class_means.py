"""Class means of the factory: where the training data lie in front of the readout, for models that learn them on.

Shapes: C inputs of the readout, K classes, Q means a class, G = K*Q groups (group g is of class g // Q), S steps, N
recordings. A *trace* is the leaky average of the readout's input spikes, x' = leak*x + (1 - leak)*s, or their mean over
the steps without a leak.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgesnn.models import Network, evaluating
from edgesnn.models.network import State

if TYPE_CHECKING:
    from edgesnn.data import Dataset

Float = NDArray[np.float64]

#: Means a class.
MEANS = 2
#: More readout inputs than this have no class means: the metric would outweigh the network.
MOST_INPUTS = 512
#: Shares, in the metric's scatter, of the scatter between recordings of a class, and of the identity.
BETWEEN, RIDGE = 0.3, 0.03
#: Of the trace's time constant, what passes after a reset before the trace means something.
SETTLE = 0.6
_ROUNDS = 20


@dataclass(frozen=True, eq=False)
class ClassMeans:
    """means [G, C] of traces, and the metric P [C, C] in which a trace is near one: their inverse scatter."""

    means: Float
    metric: Float


def settle_steps(leak: float) -> int:
    """Steps after a reset, or a change of class, until the trace means something; 0 without a leak."""
    return round(SETTLE / (1 - leak)) if leak < 1 else 0


def class_means(net: Network, data: Dataset) -> ClassMeans:
    """The class means of the training split; see `of_recordings`."""
    return of_recordings(list(traces(net, data, "train")), len(data.classes), net.readout.leak)


def of_recordings(recordings: Sequence[tuple[Float, int]], classes: int, leak: float) -> ClassMeans:
    """The class means of recordings: traces [S, C] with their class; each class has one or more.

    A recording counts once, as the mean of its traces. The metric is the inverse of the scatter within recordings plus
    shares of the scatter between the recordings of a class and of the identity: linear discriminant analysis, with
    people as the unit that varies. The two means of a class are found by Lloyd's algorithm in this metric. Where no
    trace varies, the metric is zero.
    """
    centres: list[list[Float]] = [[] for _ in range(classes)]
    within = np.zeros((recordings[0][0].shape[1],) * 2)
    for rows, label in recordings:
        settled = rows[min(settle_steps(leak), len(rows) - 1) :]
        centres[label].append(settled.mean(axis=0))
        within += np.cov(settled.T, bias=True)
    stacked = [np.stack(rows) for rows in centres]
    between = np.mean([np.cov(rows.T, bias=True) for rows in stacked], axis=0)
    scatter = within / len(recordings) + BETWEEN * between
    scatter += RIDGE * np.trace(scatter) / len(scatter) * np.eye(len(scatter))
    if not np.trace(scatter):  # nothing varies, as in a silent network: there is nothing to tell classes by
        return ClassMeans(np.concatenate([np.repeat(rows[:1], MEANS, axis=0) for rows in stacked]), scatter)
    metric = np.linalg.inv(scatter)
    return ClassMeans(np.concatenate([clusters(rows, metric, MEANS) for rows in stacked]), metric)


def clusters(rows: Float, metric: Float, count: int) -> Float:
    """`count` means [count, C] of rows [N, C]: Lloyd's algorithm in the metric, started by cutting along the main
    direction; equal means where there are fewer rows than `count`.
    """
    if len(rows) < count:
        return np.repeat(rows.mean(axis=0, keepdims=True), count, axis=0)
    white = (rows - rows.mean(axis=0)) @ np.linalg.cholesky(metric)
    along = white @ np.linalg.svd(white, full_matrices=False)[2][0]
    chosen = np.argsort(np.argsort(along)) * count // len(rows)
    for _ in range(_ROUNDS):
        centres = np.stack([white[chosen == k].mean(axis=0) for k in range(count)])
        nearest = ((white[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
        if len(np.unique(nearest)) < count or (nearest == chosen).all():
            break
        chosen = nearest
    return np.stack([rows[chosen == k].mean(axis=0) for k in range(count)])


def traces(net: Network, data: Dataset, split: str) -> Iterator[tuple[Float, int]]:
    """The traces [S, C] of each recording of a split, from a reset on, and its class; of an image, the last step's."""
    for x, y in data.evaluation_batches(split):
        batch, labels = _batch_traces(net, x, data.steps), y.numpy()
        for n in range(labels.shape[1]):
            known = labels[:, n] >= 0
            if known.any():
                yield batch[known, n], int(labels[known, n][-1])


def _batch_traces(net: Network, x: Tensor, steps: int) -> Float:
    """Traces [S, N, C] of a batch [S, N, ...] from the zero state; without a leak, means over `steps`."""
    leak = net.readout.leak
    found: list[Tensor] = []

    def keep(_: nn.Module, args: tuple[Tensor]) -> None:
        spikes = args[0]
        now = (1 - leak) * spikes if leak < 1 else spikes / steps
        found.append(now if not found else leak * found[-1] + now)

    hook = net.readout.register_forward_pre_hook(keep)
    state: State = {}
    try:
        with evaluating(net), torch.no_grad():
            for t in range(len(x)):
                _, state = net.step(x[t], state, t)
    finally:
        hook.remove()
    result: Float = torch.stack(found).double().numpy()
    return result
