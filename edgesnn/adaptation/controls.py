"""What a device's learning is compared with: gradient descent on the same labels, and training again offline.

Offline, all labels are there at once, shuffled and balanced, next to all training people: what no device has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgesnn.adaptation.protocol import LEARN_UNTIL, SCORE_FROM
from edgesnn.data import Dataset
from edgesnn.models import Network
from edgesnn.quant.class_means import settle_steps, traces

#: One training trace in so many: consecutive ones are nearly equal.
EVERY = 16


@dataclass(frozen=True)
class Offline:
    """Accuracies on the scored part: logistic regression on the training people with the user's labels, and on the
    user's labels alone.
    """

    together: float
    alone: float


def offline(net: Network, data: Dataset) -> Offline:
    """Both controls for the test split of `data`, on the traces that the device sees too."""
    settle = settle_steps(net.readout.leak)
    own = list(traces(net, data, "test"))
    train = _joined([(rows[settle::EVERY], label) for rows, label in traces(net, data, "train")])
    labelled = _joined([(rows[settle : int(LEARN_UNTIL * len(rows))], label) for rows, label in own])
    scored = _joined([(rows[int(SCORE_FROM * len(rows)) :], label) for rows, label in own])
    return Offline(_fitted([train, labelled], scored), _fitted([labelled], scored))


Set = tuple[NDArray[np.float64], NDArray[np.int64]]


def _joined(parts: Sequence[tuple[NDArray[np.float64], int]]) -> Set:
    return np.concatenate([rows for rows, _ in parts]), np.repeat(
        [label for _, label in parts], [len(r) for r, _ in parts]
    )


def _fitted(sets: Sequence[Set], scored: Set) -> float:
    """Accuracy of logistic regression; each set counts as much as the others, however many rows it has."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, y = (np.concatenate(parts) for parts in zip(*sets, strict=True))
    weights = np.concatenate([np.full(len(labels), 1 / len(labels)) for _, labels in sets])
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))
    model.fit(x, y, logisticregression__sample_weight=weights * len(y) / len(sets))
    return float(model.score(*scored))
