"""A small stream data set that is quick to learn: three movements of five people, two channels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgesnn.data.dataset import Dataset, Frame, Recording, row_statistics

CLASSES = ("rest", "slow", "fast")
FRAME = Frame(length=4, hop=2, channels=2)


def recordings(people: range, rows: int = 160, seed: int = 0) -> tuple[Recording, ...]:
    """One recording a person and class: a sine per class, with a phase of its own and noise, in odd units."""
    generator = np.random.default_rng(seed + people.start)
    found = []
    for person in people:
        for label, period in enumerate((60, 12, 5)):
            phase = 2 * np.pi * np.arange(rows)[:, None] / period + generator.uniform(0, 6, 2)
            noise = generator.normal(0, 0.05, (rows, 2))
            values = np.array([3.0, -40.0]) + np.array([2.0, 15.0]) * (np.sin(phase) * (label > 0) + noise)
            found.append(Recording(10 * person + label, values.astype(np.float32), label, person))
    return tuple(found)


def stream(steps: int = 4) -> Dataset:
    """People 0 to 2 train, 3 validates, 4 and 5 test."""
    train = recordings(range(3))
    mean, std = row_statistics(train)
    return Dataset(
        "tiny", CLASSES, (FRAME.length * FRAME.channels,), mean, std, 20.0, FRAME, steps,
        train, recordings(range(3, 4)), recordings(range(4, 6)), channels=("sway", "surge"),
    )  # fmt: skip


def positive(data: Dataset) -> Dataset:
    """The same recordings as absolute values with mean 0, so that no input is negative."""

    def split(part: tuple[Recording, ...]) -> tuple[Recording, ...]:
        return tuple(replace(recording, rows=np.abs(recording.rows)) for recording in part)

    parts = {name: split(data.split(name)) for name in ("train", "validation", "test")}
    return replace(data, mean=np.zeros(2), std=np.array([3.0, 40.0]), **parts)
