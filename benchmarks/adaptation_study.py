"""Which learner helps a person the model never saw, and what troubles it? Leave one person out, on `watch`.

    python benchmarks/adaptation_study.py

uses the networks of `edgesnn bench adapt` (trained first where they are not there yet; about an hour) and takes some
ten minutes. Learners are simulated on the traces of the fake-quantized network, which the exported one follows closely;
the bench measures the one that was chosen as the device runs it. What was found, and why, is in docs/learning.md.

Shapes: S steps, C features (128 spikes), K classes.
"""

# ruff: noqa: T201
from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from adaptation_learners import (
    EXAMPLES,
    GRID,
    TRACE_BITS,
    TROUBLES,
    Factory,
    Float,
    Ints,
    Person,
    class_means,
    replay,
    sgd,
)

from edgesnn import cache
from edgesnn.adaptation import leave_one_out
from edgesnn.adaptation.protocol import LEARN_UNTIL, SCORE_FROM
from edgesnn.data import Dataset
from edgesnn.quant import QuantizedNetwork
from edgesnn.quant.class_means import settle_steps, traces

Traces = Sequence[tuple[Float, int]]


def prepare(net: QuantizedNetwork, split: Dataset) -> tuple[Factory, Person]:
    """What the device is delivered with, and the one person of the test split; traces in units of 2^-10 spike."""
    unit = 2.0**-TRACE_BITS * net.layers["neuron2"].scale
    settle = settle_steps(net.readout.leak)
    train, own = ([(rows / unit, label) for rows, label in traces(net, split, name)] for name in ("train", "test"))
    readout: Any = net.readout  # torch types the methods of Brevitas' layers as tensors
    weight = readout.quant_weight().value.detach().numpy().astype(np.float64) * unit
    pools = [np.concatenate([rows[settle:] for rows, label in train if label == k]) for k in range(len(split.classes))]
    random = np.random.default_rng(0)
    factory = Factory(
        weight,
        readout.bias.detach().numpy().astype(np.float64),
        readout.metric.double().numpy() * unit**2,
        [np.stack([rows[settle:].mean(axis=0) for rows, label in train if label == k]) for k in range(len(pools))],
        np.stack([pool[random.integers(len(pool), size=EXAMPLES)] for pool in pools]),
    )
    return factory, person(own, settle)


def person(own: Traces, settle: int) -> Person:
    """Labelled stretches without the steps in which the trace settles, and the part that is scored."""
    whole = [(np.rint(rows).astype(np.int64), label) for rows, label in own]
    labelled = [(rows[settle : int(LEARN_UNTIL * len(rows))], label) for rows, label in whole]
    scored = [rows[int(SCORE_FROM * len(rows)) :] for rows, _ in whole]
    labels: Ints = np.repeat([label for _, label in whole], [len(rows) for rows in scored])
    return Person(labelled, np.concatenate(scored), labels)


def tell(name: str, fixed: Float, learned: Float) -> None:
    """One line: means over seeds and people [seeds, people], gain, worst person (mean of seeds), worst of all."""
    gain = learned - fixed
    print(f"{name:36s} {fixed.mean():7.4f} {learned.mean():7.4f} {gain.mean():+8.4f} {gain.mean(axis=0).min():+7.3f} "
          f"{gain.min():+7.3f}", flush=True)  # fmt: skip


def nested(fixed: Float, learned: Float) -> tuple[list[int], Float]:
    """For each person the setting with the best accuracy on the nine others, among those that make none of the nine
    worse by more than a point with any seed. fixed, learned [settings, seeds, people] -> choices, gains [seeds,
    people].
    """
    gains, chosen = learned - fixed, []
    for p in range(gains.shape[2]):
        others = np.delete(gains, p, axis=2)
        safe = others.min(axis=(1, 2)) >= -0.01
        value = np.delete(learned, p, axis=2).mean(axis=(1, 2))
        chosen.append(int(np.where(safe, value, -1 if safe.any() else value).argmax()))
    return chosen, np.stack([gains[chosen[p], :, p] for p in range(gains.shape[2])], axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description="Learners on unseen people of the watch data; see docs/learning.md.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--networks", type=Path, default=None, help="folder of the networks (default: the bench's)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder = arguments.networks or cache.folder("adapt")
    cases = {
        (j, k): prepare(*leave_one_out.without(number, seed, folder))
        for j, seed in enumerate(arguments.seeds)
        for k, number in enumerate(leave_one_out.PEOPLE)
    }
    shape = (len(arguments.seeds), len(leave_one_out.PEOPLE))

    def table(run: Any) -> Float:
        """[..., seeds, people] of what `run` gives for each."""
        results = np.array([run(*cases[index]) for index in np.ndindex(shape)])
        return np.moveaxis(results, 0, -1).reshape(*results.shape[1:], *shape)

    print(f"{'':36s} {'fixed':>7s} {'learned':>7s} {'gain':>8s} {'person':>7s} {'run':>7s}")
    for name, trouble in TROUBLES.items():
        found = [table(lambda f, p, t=trouble, key=key: getattr(class_means(f, p, t), key)) for key in
                 ("fixed", "learned", "guarded")]  # fmt: skip
        tell(f"means, {name}", found[0], found[1])
        tell(f"guarded, {name}", found[0], found[2])
    readout = table(lambda f, p: (f.decide(p.scored) == p.labels).mean())
    for rate in (0.001, 0.01):
        tell(f"SGD of the readout, rate {rate:g}", readout, table(lambda f, p, r=rate: sgd(f, p, r)))
        tell(f"replay, rate {rate:g}", readout, table(lambda f, p, r=rate: replay(f, p, r)))
    grid = np.stack([table(lambda f, p, s=s: _pair(f, p, s)) for s in GRID], axis=1)
    for settings, fixed, learned in zip(GRID, *grid, strict=True):
        tell(f"{settings.means} means, {settings.prior}, {settings.check}, {settings.odds}", fixed, learned)
    chosen, gains = nested(*grid)
    print("nested choice: gain, worst person, worst run:", gains.mean(), gains.mean(axis=0).min(), gains.min())
    print("chosen by person:", [GRID[i] for i in chosen])


def _pair(factory: Factory, user: Person, settings: Any) -> tuple[float, float]:
    result = class_means(factory, user, settings=settings)
    return result.fixed, result.guarded


if __name__ == "__main__":
    main()
