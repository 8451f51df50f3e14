"""Class means in integers, once in NumPy: the readout that follows from means, and the means from sums and counts.

Shapes: C inputs, K classes, Q means a class, G = K*Q groups. On a device `LearnMeans` of the function library does the
same for one group at a time; the factory (`edgesnn.export.class_means`) and `merge` do it for all groups at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnx import numpy_helper

from edgesnn.errors import ModelError
from edgesnn.runtime.model import Array, Model

#: Q30: means are sums times a reciprocal in this unit.
_ONE = 2**30


@dataclass(frozen=True, eq=False)
class MeansLearner:
    """The constants of a learner: factory mean F s16 [G, C], metric P s16 [C, C], and the numbers of `LearnMeans`."""

    factory_mean: Array
    metric: Array
    shift: int
    bias_limit: int
    prior: int
    most: int


def read_learner(model: Model) -> MeansLearner:
    """The constants that `learn.onnx` holds.

    Raises:
        ModelError: the model does not learn class means.
    """
    if model.learn is None or model.learn.scope != "means":
        scope = model.learn.scope if model.learn else "nothing"
        raise ModelError(
            f"{model.path}: expected a model that learns class means, got one that learns {scope}; "
            "export again with --learn means"
        )
    graph = model.graph("learn").graph
    constants = {entry.name: numpy_helper.to_array(entry) for entry in graph.initializer}
    (node,) = (node for node in graph.node if node.op_type == "LearnMeans")
    number = {entry.name: int(entry.i) for entry in node.attribute}
    mean, metric = (constants[name] for name in node.input[4:6])
    return MeansLearner(mean, metric, number["shift"], number["bias_limit"], number["prior"], number["most"])


def learned_means(factory_mean: Array, total: Array, count: Array, prior: int) -> Array:
    """m = ((prior*F + S) * (2^30 / (prior + n))) / 2^30, divisions rounding down; int64 [G, C].

    F s16 [G, C], S s32 [G, C], n s32 [G]. With a prior that is a power of two, m = F where n = 0.
    """
    sums = factory_mean.astype(np.int64) * prior + total
    reciprocal = _ONE // (prior + count.astype(np.int64))
    return sums * reciprocal[:, None] >> 30


def exact_scores(mean: Array, metric: Array) -> Array:
    """u = P m for every group, int64 [G, C]."""
    return mean.astype(np.int64) @ metric.astype(np.int64)


def means_readout(mean: Array, metric: Array, shift: int, bias_limit: int) -> tuple[Array, Array]:
    """weight s8 [G, C] and bias s32 [G] of means m [G, C].

    With u = P m: weight = clamp((u + 2^(shift-1)) >> shift, -127, 127), bias = max(u m, 0) / 2^(shift+1) - weight m,
    clamped to +-bias_limit: the score at a mean itself is exact, however the weights were rounded.
    """
    mean = mean.astype(np.int64)
    u = exact_scores(mean, metric)
    weight = np.clip((u + (1 << (shift - 1))) >> shift, -127, 127)
    at_mean = np.maximum((u * mean).sum(axis=1), 0) >> (shift + 1)
    bias = np.clip(at_mean - (weight * mean).sum(axis=1), -bias_limit, bias_limit)
    return weight.astype(np.int8), bias.astype(np.int32)
