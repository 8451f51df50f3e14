"""ONNX Runtime: the reference evaluator's integers on networks of every kind, and many streams side by side."""

from __future__ import annotations

import numpy as np
import pytest
from random_models import RandomModel, Shape

from edgesnn.runtime.model import Model
from edgesnn.runtime.ort import OrtSession, run_streams
from edgesnn.runtime.reference import ReferenceSession
from edgesnn.runtime.vectors import random_stream

IMAGE = (2, 6, 7)
SHAPES = {
    "dense": Shape(),
    "parameters per time step": Shape((7,), steps=4, bits=8, k=1, neurons=("EMPF", "ParallelEMPF")),
    "one bit spikes": Shape(
        (16,), "uint8", hidden=(("BinaryLinear", 24), ("BinaryLinear", 5)), bits=1, neurons=("LIF", "EMPF")
    ),
    "convolutions": Shape(IMAGE, "uint8", (("Conv2d", 5), ("BinaryConv2d", 6), ("BinaryLinear", 9)), pool=True),
    "signed image, no learning": Shape(IMAGE, "int8", (("BinaryConv2d", 3), ("Conv2d", 2)), learn=False),
}


@pytest.fixture(params=SHAPES)
def model(request, tmp_path) -> Model:
    return RandomModel(SHAPES[request.param], seed=35).write(tmp_path, vectors=False)


def test_equals_the_reference_in_steps_learning_and_state(model):
    frames, labels = random_stream(model, 40, 3)
    reference, ort = ReferenceSession(model), OrtSession(model)
    for frame, label in zip(frames, labels, strict=True):
        np.testing.assert_array_equal(ort.step(frame), reference.step(frame))
        if label >= 0:
            ort.learn(int(label))
            reference.learn(int(label))
        assert ort.snapshot() == reference.snapshot()


def test_streams_side_by_side_equal_sessions_of_their_own(model):
    streams, steps = 5, 20
    xs = np.stack([random_stream(model, steps, seed)[0] for seed in range(streams)], axis=1)
    together = run_streams(model, xs)
    assert (together.shape, together.dtype) == ((steps, streams, len(model.classes)), np.int32)
    for n in range(streams):
        session = OrtSession(model)
        np.testing.assert_array_equal(together[:, n], [session.step(x) for x in xs[:, n]])
    assert len({together[:, n].tobytes() for n in range(streams)}) == streams  # what comes in reaches the readout
    np.testing.assert_array_equal(run_streams(model, xs), together)


def test_no_step_and_no_stream(model):
    shape = model.input.shape
    empty = np.zeros((0, 3, *shape), model.input.dtype)
    assert run_streams(model, empty).shape == (0, 3, len(model.classes))


def test_a_trained_readout_is_used(tmp_path):
    """Trainable parameters are defaults in the file and inputs of a session: both runs must see what was learned."""
    model = RandomModel(Shape(), seed=2).write(tmp_path, vectors=False)
    frames, _ = random_stream(model, 8, 1)
    fixed, learned = OrtSession(model), OrtSession(model)
    for frame in frames:
        fixed.step(frame)
        learned.step(frame)
        learned.learn(1)
    for session in (fixed, learned):
        session.reset()
    y = [session.step(frames[-1]) for session in (fixed, learned)]
    assert y[1][1] > y[0][1]
