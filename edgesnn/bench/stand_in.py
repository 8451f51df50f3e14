"""A model of the demo's size that knows nothing: real graphs and a real state, for benches of all but accuracy."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgesnn.runtime.model import Model

_CLASSES = 7


def export_stand_in(folder: Path) -> Model:
    """Export a network 96-128-128-7 that learns its readout, with its C, into a folder.

    It sees two epochs of noise, so that its norms have statistics and no layer is silent.
    """
    import edgesnn as es
    from edgesnn import export
    from edgesnn.data import Dataset
    from edgesnn.data.dataset import Frame, Recording

    generator = np.random.default_rng(0)
    recordings = tuple(
        Recording(i, generator.normal(0, 1, (96, 6)).astype(np.float32), i % _CLASSES) for i in range(2 * _CLASSES)
    )
    frame = Frame(length=16, hop=4, channels=6)
    classes = tuple(f"class {i}" for i in range(_CLASSES))
    data = Dataset("noise", classes, (96,), np.zeros(6), np.ones(6), 50.0, frame, 4, recordings, recordings, recordings)
    net = es.models.mlp(inputs=96, hidden=[128, 128], classes=_CLASSES, neuron=es.EMPF(), weights="binary", leak=0.93)
    es.fit(net, data, epochs=2, progress=False)
    qnet = es.quantize(net, weights=1, spikes=4, calibrate=data, epochs=0)
    model = export.onnx(qnet, folder, learn="readout", learning_rate=1e-2)
    export.c(folder)
    return model
