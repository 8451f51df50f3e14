"""Class means with a guard once more, in Python's own integers: an independent yardstick for ONNX and C.

Shapes: G = K*Q groups, C inputs. Formulas: docs/architecture.md ("Learning").
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Constants:
    factory_weight: Array
    factory_bias: Array
    factory_mean: Array
    metric: Array
    means: int
    shift: int
    bias_limit: int
    settle: int
    check: int
    prior: int
    most: int


@dataclass(frozen=True)
class Learned:
    """Everything that learning changes."""

    weight: Array
    bias: Array
    sum: Array
    count: Array
    last: int = 0
    run: int = 0
    seen: int = 0
    factory_errors: int = 0
    learned_errors: int = 0
    use: int = 0


def scores(trace: Array, weight: Array, bias: Array) -> Array:
    return weight.astype(np.int64) @ trace.astype(np.int64) + bias.astype(np.int64)


def best_by_class(score: Array, means: int) -> Array:
    return score.reshape(-1, means).max(axis=1)


def nearest(trace: Array, weight: Array, bias: Array, means: int) -> int:
    return int(best_by_class(scores(trace, weight, bias), means).argmax())


def decide(trace: Array, learned: Learned, constants: Constants, multiplier: int, shift: int) -> Array:
    w, b = (learned.weight, learned.bias) if learned.use else (constants.factory_weight, constants.factory_bias)
    return (best_by_class(scores(trace, w, b), constants.means) * multiplier + (1 << (shift - 1))) >> shift


def guard_check(trace: Array, label: int, learned: Learned, c: Constants) -> Learned:
    run = min(learned.run + 1, 2**30) if label == learned.last else 1
    after = replace(learned, last=label, run=run)
    if run < c.check:
        return after
    seen = learned.seen + 1
    factory = learned.factory_errors + (nearest(trace, c.factory_weight, c.factory_bias, c.means) != label)
    own = learned.learned_errors + (nearest(trace, learned.weight, learned.bias, c.means) != label)
    part = 2 if seen >= 4096 else 1
    return replace(after, seen=seen // part, factory_errors=factory // part, learned_errors=own // part)


def learn_means(trace: Array, label: int, learned: Learned, c: Constants) -> Learned:
    if learned.run < c.settle:
        return learned
    own = slice(label * c.means, (label + 1) * c.means)
    group = own.start + int(scores(trace, learned.weight[own], learned.bias[own]).argmax())
    weight, bias, total, count = (
        a.astype(np.int64) for a in (learned.weight, learned.bias, learned.sum, learned.count)
    )
    total[group] += trace
    count[group] += 1
    if count[group] >= c.most:
        total[group] //= 2
        count[group] //= 2
    factory = c.prior * c.factory_mean[group].astype(np.int64)
    mean = (factory + total[group]) * (2**30 // (c.prior + int(count[group]))) >> 30
    u = c.metric.astype(np.int64) @ mean
    weight[group] = np.clip((u + (1 << (c.shift - 1))) >> c.shift, -127, 127)
    at_mean = max(int(u @ mean), 0) >> (c.shift + 1)
    bias[group] = np.clip(at_mean - int(weight[group] @ mean), -c.bias_limit, c.bias_limit)
    return replace(learned, weight=weight, bias=bias, sum=total, count=count)


def guard_decide(learned: Learned, means: int) -> int:
    covered = bool((best_by_class(learned.count, means) > 0).all())
    seen, factory, own = learned.seen, learned.factory_errors, learned.learned_errors
    return int(covered and seen >= 64 and 32 * factory > seen and 4 * factory >= 5 * own and 4 * own <= seen)


def learn(trace: Array, label: int, learned: Learned, c: Constants) -> Learned:
    after = learn_means(trace, label, guard_check(trace, label, learned, c), c)
    return replace(after, use=guard_decide(after, c.means))


def random_case(rng: np.random.Generator, classes: int, means: int, inputs: int) -> tuple[Constants, Learned, Array]:
    """Constants, a state in the middle of learning and a trace, all over their ranges."""
    groups, limit = classes * means, min((2**31 - 1) // (3 * 127 * inputs), 2**15 - 1)
    half = rng.integers(-(2**15) + 1, 2**15, (inputs, inputs))
    metric = ((half + half.T) // 2).astype(np.int16)
    if rng.random() < 0.5:  # one with a heavy diagonal, as an inverse scatter has
        metric = (metric // 64 + np.diag(rng.integers(2**13, 2**14, inputs))).astype(np.int16)
    bias_limit = 2 * 127 * inputs * limit
    settle = int(rng.integers(0, 5))
    constants = Constants(
        rng.integers(-127, 128, (groups, inputs)).astype(np.int8),
        rng.integers(-bias_limit, bias_limit + 1, groups).astype(np.int32),
        rng.integers(0, limit + 1, (groups, inputs)).astype(np.int16), metric, means,
        int(rng.integers(1, 32)), bias_limit, settle, int(rng.integers(0, 9)), 2 ** int(rng.integers(0, 10)),
        int(rng.integers(2, 300)),
    )  # fmt: skip
    count = rng.integers(0, constants.most, groups) * (rng.random(groups) < 0.8)
    seen = int(rng.choice([0, 63, 64, 1000, 4094, 4095]))
    learned = Learned(
        rng.integers(-127, 128, (groups, inputs)).astype(np.int8),
        rng.integers(-bias_limit, bias_limit + 1, groups).astype(np.int32),
        (rng.integers(0, limit + 1, (groups, inputs)) * count[:, None]).astype(np.int32),
        count.astype(np.int32), int(rng.integers(classes)),
        int(rng.choice([0, settle - 1, settle, constants.check, 2**30])), seen, int(rng.integers(0, seen // 4 + 2)),
        int(rng.integers(0, seen // 4 + 2)), int(rng.integers(2)),
    )  # fmt: skip
    return constants, learned, rng.integers(0, limit + 1, inputs).astype(np.int32)
