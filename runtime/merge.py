"""Several devices' states as one: what each of them learned counts, in whatever order they come."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgesnn.errors import ConfigError, ModelError
from edgesnn.runtime.class_means import learned_means, means_readout, read_learner
from edgesnn.runtime.model import Array, Model

#: Counts of learning steps wrap here, as on a device.
_COUNTS = 2**31


def merge(model: Model, snapshots: Sequence[bytes]) -> bytes:
    """The state of a device that starts from what all of these learned, with its membranes at rest.

    Scope `means`: sums and counts of labels add up, both halved (rounding down) while a count is `most` or more, as
    on a device; weights and biases follow from them. The guard starts closed: no device has compared this model.
    Scope `readout`: the mean of the weights, and of the biases, rounded half to even; the counts of steps add up.

    Raises:
        ConfigError: no state.
        ModelError: the model learns neither of these.
        StateError: a snapshot is not of this model.
    """
    if not snapshots:
        raise ConfigError("merge: expected at least one state, got none; name the files that devices saved")
    scope = model.learn.scope if model.learn else "nothing"
    if scope not in _MERGED:
        raise ModelError(
            f"{model.path}: expected a model that learns {' or '.join(_MERGED)}, got one that learns {scope}; "
            "states of such a model cannot be merged"
        )
    states = [model.unpack(snapshot) for snapshot in snapshots]
    merged = _MERGED[scope](model, states)
    rest = {tensor.name: np.zeros(tensor.shape, tensor.dtype) for tensor in model.tensors}
    return model.pack(rest | merged)


def _means(model: Model, states: Sequence[dict[str, Array]]) -> dict[str, Array]:
    learner = read_learner(model)
    total, count = _sum(states, "means.sum"), _sum(states, "means.count")
    while (many := count >= learner.most).any():
        total, count = np.where(many[:, None], total // 2, total), np.where(many, count // 2, count)
    mean = learned_means(learner.factory_mean, total, count, learner.prior)
    weight, bias = means_readout(mean, learner.metric, learner.shift, learner.bias_limit)
    return {"means.sum": total, "means.count": count, "means.weight": weight, "means.bias": bias}


def _readout(model: Model, states: Sequence[dict[str, Array]]) -> dict[str, Array]:
    merged = {}
    for tensor in model.tensors:
        total = _sum(states, tensor.name)
        if tensor.kind == "param":
            merged[tensor.name] = np.rint(total / len(states))
        elif tensor.kind == "learner":
            merged[tensor.name] = total % _COUNTS
    return merged


def _sum(states: Sequence[dict[str, Array]], name: str) -> Array:
    return np.stack([state[name] for state in states]).sum(axis=0, dtype=np.int64)


_MERGED = {"means": _means, "readout": _readout}
