"""Test vectors: an input stream and what the reference evaluator makes of it, learning included."""

from __future__ import annotations

import numpy as np

from edgesnn.runtime.model import Model
from edgesnn.runtime.reference import ReferenceSession
from edgesnn.runtime.vectors import random_stream

STEPS = 32


def write_vectors(model: Model) -> None:
    """Write `vectors.npz`: x [S, ...], labels [S], y int32 [S, K], snapshot uint8 [bytes] after the last step."""
    frames, labels = random_stream(model, STEPS, seed=0)
    with ReferenceSession(model) as session:
        y = []
        for frame, label in zip(frames, labels, strict=True):
            y.append(session.step(frame))
            if label >= 0:
                session.learn(int(label))
        snapshot = np.frombuffer(session.snapshot(), np.uint8)
    np.savez(model.path / "vectors.npz", x=frames, labels=labels, y=np.array(y, np.int32), snapshot=snapshot)
