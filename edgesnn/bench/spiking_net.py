"""A spiking network 256-128-10 on binary inputs that learns everything: what learning on a device is measured on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgesnn.runtime.model import Model

INPUTS, HIDDEN, CLASSES = 256, 128, 10
#: Share of the inputs that spike in a frame.
ACTIVITY = 0.125
_ROWS = 64


def export_spiking_net(folder: Path) -> Model:
    """Export it with LIF neurons and int8 weights, scope `all`, into a folder.

    It sees one epoch of the classes' spikes, so that its norms have statistics and no layer is silent.
    """
    import edgesnn as es
    from edgesnn import export
    from edgesnn.data import Dataset
    from edgesnn.data.dataset import Frame, Recording

    frames, labels = spikes(4 * CLASSES, seed=0, hold=_ROWS)
    recordings = tuple(
        Recording(i, rows, int(label), i) for i, (rows, label) in enumerate(zip(frames, labels, strict=True))
    )
    frame, classes = Frame(length=1, hop=1, channels=INPUTS), tuple(f"class {i}" for i in range(CLASSES))
    data = Dataset("spikes", classes, (INPUTS,), np.zeros(INPUTS), np.ones(INPUTS), 50.0, frame, 4,
                   recordings, recordings, recordings)  # fmt: skip
    net = es.models.mlp(INPUTS, [HIDDEN], CLASSES, es.LIF(), "float", leak=0.9)
    es.fit(net, data, epochs=1, progress=False)
    qnet = es.quantize(net, weights=8, spikes=1, calibrate=data, epochs=0)
    return export.onnx(qnet, folder, learn="all", learning_rate=1e-3)


def spikes(count: int, seed: int, hold: int = 1) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Binary frames [count, hold, INPUTS], exactly `ACTIVITY` of each set, and the class of each [count].

    A class prefers inputs of its own: two thirds of the spikes are drawn from a quarter of the inputs.
    """
    rng = np.random.default_rng(seed)
    active = round(INPUTS * ACTIVITY)
    labels = np.arange(count) % CLASSES
    frames = np.zeros((count, hold, INPUTS), np.float32)
    for rows, label in zip(frames, labels, strict=True):
        preferred = np.roll(np.arange(INPUTS), INPUTS * int(label) // CLASSES)[: INPUTS // 4]
        weight = np.ones(INPUTS)
        weight[preferred] = 6
        for row in rows:
            row[rng.choice(INPUTS, active, replace=False, p=weight / weight.sum())] = 1
    return frames, labels
