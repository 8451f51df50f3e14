"""The learners that benchmarks/adaptation_study.py compares: (factory, person) -> decisions on what is scored.

Shapes: S steps, C features (128 spikes), K classes, Q means a class, G = K*Q groups (group g is of class g // Q).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Ints = NDArray[np.int64]

TRACE_BITS = 10  # the trace is in units of 2^-10 of a spike
CHECK_FROM = 0.75  # of a labelled segment: the guard checks on the rest
PRIOR = 100  # labelled steps that a factory mean counts for
MOST = 2**16  # labelled steps of a mean, after which its past counts half: the sum stays within int32
WORTH_IT = 0.03  # the guard changes nothing where the trained readout errs less
EXAMPLES = 16  # stored traces a class, for replay


@dataclass(frozen=True)
class Factory:
    """What the device is delivered with: readout [K, C], [K]; inverse scatter [C, C]; per class the mean trace of each
    training recording; EXAMPLES traces a class.
    """

    weight: Float
    bias: Float
    metric: Float
    recordings: list[Float]
    examples: Float

    def fixed(self, x: Ints) -> Ints:
        return (x @ self.weight.T + self.bias).argmax(axis=1)


@dataclass(frozen=True)
class Person:
    """Labelled segments (trace [S, C], class) in stream order; the traces that are scored and their labels [S];
    renormalized: the traces that are scored, of inputs normalized by the person's own first 20 % (no label needed).
    """

    labelled: list[tuple[Ints, int]]
    scored: Ints
    labels: Ints
    renormalized: Ints

    def steps(self) -> Iterator[tuple[Ints, int, bool]]:
        """Trace, label, and whether the step is of the last quarter, on which a guard checks."""
        for trace, label in self.labelled:
            checked = len(trace) * CHECK_FROM
            for i, x in enumerate(trace):
                yield x, label, i >= checked


class ClassMeans:
    """Nearest of Q means a class, in the factory's metric P, integers only: w_g = P m_g, b_g = -m_g P m_g / 2, decision
    argmax_g(w_g x + b_g) // Q. Learning adds x to the sum of the nearest mean of its class, so that the order of the
    labels hardly matters. int16 metric, int8 weights, int32 sums, counts and biases, 64-bit products in `refresh`.
    """

    def __init__(self, factory: Factory, means: int, prior: int = PRIOR) -> None:
        self.means = means
        start = np.concatenate([clusters(rows, factory.metric, means) for rows in factory.recordings])
        self.metric = np.rint(factory.metric * (32767 / np.abs(factory.metric).max())).astype(np.int64)
        self.sum = np.rint(prior * start).astype(np.int64)
        self.count = np.full(len(start), prior, np.int64)
        largest = np.abs(self.metric @ np.rint(start).astype(np.int64).T).max()
        self.shift = int(np.ceil(np.log2(largest / 84)))  # 127 / 1.5: room for weights to grow
        self.weight, self.bias = np.zeros_like(self.sum), np.zeros_like(self.count)
        for group in range(len(start)):
            self.refresh(group)

    def learn(self, x: Ints, label: int) -> None:
        groups = slice(label * self.means, (label + 1) * self.means)
        group = groups.start + int((self.weight[groups] @ x + self.bias[groups]).argmax())
        self.sum[group] += x
        self.count[group] += 1
        if self.count[group] == MOST:
            self.sum[group] >>= 1
            self.count[group] >>= 1
        self.refresh(group)

    def refresh(self, group: int) -> None:
        """The weights of a mean. The bias makes the score exact at the mean, however the weights were rounded."""
        mean = (self.sum[group] * (2**30 // self.count[group])) >> 30
        exact = self.metric @ mean
        self.weight[group] = np.clip((exact + (1 << (self.shift - 1))) >> self.shift, -127, 127)
        self.bias[group] = ((exact @ mean) >> (self.shift + 1)) - self.weight[group] @ mean

    def decide(self, x: Ints) -> Ints:
        return (x @ self.weight.T + self.bias).argmax(axis=1) // self.means


def clusters(rows: Float, metric: Float, count: int) -> Float:
    """Means [count, C] of one class from its training recordings [R, C]: Lloyd's algorithm in the metric, started by
    cutting along the main direction.
    """
    white = (rows - rows.mean(axis=0)) @ np.linalg.cholesky(metric)
    along = white @ np.linalg.svd(white, full_matrices=False)[2][0]
    chosen = np.argsort(np.argsort(along)) * count // len(rows)
    for _ in range(20):
        centres = np.stack([white[chosen == k].mean(axis=0) for k in range(count)])
        nearest = ((white[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
        if len(np.unique(nearest)) < count or (nearest == chosen).all():
            break
        chosen = nearest
    return np.stack([rows[chosen == k].mean(axis=0) for k in range(count)])


def fixed(factory: Factory, person: Person) -> Ints:
    return factory.fixed(person.scored)


def renormalized(factory: Factory, person: Person) -> Ints:
    return factory.fixed(person.renormalized)


def means_unlearned(factory: Factory, person: Person) -> Ints:
    return ClassMeans(factory, 2).decide(person.scored)


def means(count: int, prior: int = PRIOR, wrong: float = 0.0, only: int | None = None) -> Learner:
    """Class means; `wrong`: share of labels replaced by random ones; `only`: the one class that is ever labelled."""

    def learner(factory: Factory, person: Person) -> Ints:
        model = ClassMeans(factory, count, prior)
        random = np.random.default_rng(0)
        for x, label, _ in person.steps():
            if only is None or label == only:
                flipped = random.random() < wrong
                model.learn(x, int(random.integers(len(factory.bias))) if flipped else label)
        return model.decide(person.scored)

    return learner


def guarded(wrong: float = 0.0) -> Learner:
    """Two means a class; on the last quarter of each labelled segment they and the trained readout both decide before
    the label is learned. The means are used if they made no more errors, and the readout made enough to be worth it.
    """

    def learner(factory: Factory, person: Person) -> Ints:
        model = ClassMeans(factory, 2)
        random = np.random.default_rng(0)
        errors, checks = np.zeros(2, int), 0
        for x, label, checked in person.steps():
            given = int(random.integers(len(factory.bias))) if random.random() < wrong else label
            if checked:
                checks += 1
                errors += [decide(x[None])[0] != given for decide in (factory.fixed, model.decide)]
            model.learn(x, given)
        learned = errors[1] <= errors[0] and errors[0] > WORTH_IT * checks
        return (model.decide if learned else factory.fixed)(person.scored)

    return learner


def sgd(rate: float) -> Learner:
    """The readout follows each label as it comes; in floating point, its best case."""

    def learner(factory: Factory, person: Person) -> Ints:
        weight, bias = factory.weight * 2**TRACE_BITS, factory.bias.copy()
        for x, label, _ in person.steps():
            descend(weight, bias, x[None] / 2**TRACE_BITS, np.array([label]), rate)
        return (person.scored / 2**TRACE_BITS @ weight.T + bias).argmax(axis=1)

    return learner


def replay(rate: float) -> Learner:
    """With each label one stored trace of every class is learned: from the factory's, or a reservoir of the own."""

    def learner(factory: Factory, person: Person) -> Ints:
        weight, bias = factory.weight * 2**TRACE_BITS, factory.bias.copy()
        store = np.concatenate([factory.examples, factory.examples], axis=1) / 2**TRACE_BITS  # [K, 2 * EXAMPLES, C]
        seen = np.zeros(len(bias), int)
        classes = np.arange(len(bias))
        random = np.random.default_rng(0)
        for x, label, _ in person.steps():
            place = seen[label] if seen[label] < EXAMPLES else random.integers(seen[label] + 1)
            seen[label] += 1
            if place < EXAMPLES:
                store[label, EXAMPLES + place] = x / 2**TRACE_BITS
            descend(weight, bias, store[classes, random.integers(2 * EXAMPLES, size=len(bias))], classes, rate)
        return (person.scored / 2**TRACE_BITS @ weight.T + bias).argmax(axis=1)

    return learner


def descend(weight: Float, bias: Float, x: Float, labels: Ints, rate: float) -> None:
    """One step of gradient descent of the cross entropy of a linear readout, in place."""
    logits = x @ weight.T + bias
    error = np.exp(logits - logits.max(axis=1, keepdims=True))
    error /= error.sum(axis=1, keepdims=True)
    error[np.arange(len(labels)), labels] -= 1
    weight -= rate * error.T @ x / len(labels)
    bias -= rate * error.mean(axis=0)


Learner = Callable[[Factory, Person], Ints]
SETTINGS = [(count, prior) for count in (1, 2, 3) for prior in (50, 100, 200)]
LEARNERS: dict[str, Learner] = {
    "fixed": fixed,
    "fixed, own input normalization": renormalized,
    "two means, nothing learned": means_unlearned,
    "one mean a class": means(1),
    "two means a class": means(2),
    "two means, guarded": guarded(),
    "two means, 10 % wrong labels": means(2, wrong=0.1),
    "two means, 30 % wrong labels": means(2, wrong=0.3),
    "guarded, 30 % wrong labels": guarded(wrong=0.3),
    "two means, one class labelled": means(2, only=4),
    "SGD, rate 0.001": sgd(0.001),
    "SGD, rate 0.01": sgd(0.01),
    "replay, rate 0.001": replay(0.001),
    "replay, rate 0.01": replay(0.01),
}
