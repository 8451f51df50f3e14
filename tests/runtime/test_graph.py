"""Sessions over graphs: which tensors go in and out, and windows that equal steps."""

from __future__ import annotations

import numpy as np
import pytest
from random_models import RandomModel, Shape

from edgesnn.errors import DataError
from edgesnn.runtime.graph import GraphSession
from edgesnn.runtime.ort import OrtSession
from edgesnn.runtime.reference import ReferenceSession
from edgesnn.runtime.vectors import random_stream


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    return RandomModel(Shape((5,), hidden=(("BinaryLinear", 4),), steps=3), seed=3).write(path, vectors=False)


class Recorder(GraphSession):
    """Adds 1 to the time index and sets one logit; keeps what it was fed."""

    def __init__(self, model):
        super().__init__(model)
        self.ran = []

    def _run(self, graph, feeds):
        self.ran.append((graph, {name: value.copy() for name, value in feeds.items()}))
        outputs = {"t.new": feeds["t"] + 1, "unrelated": np.zeros(1)}
        return outputs if graph == "learn" else {"y": np.array([[1, 2, 3]], np.int32)} | outputs


def test_new_values_replace_old_ones_and_nothing_else_does(model):
    session = Recorder(model)
    before = session.tensors()
    assert session.step(np.arange(5, dtype=np.int8)).tolist() == [1, 2, 3]
    session.learn(2)
    after = session.tensors()
    assert after.pop("t").tolist() == [2]
    assert before.pop("t").tolist() == [0]
    assert all(np.array_equal(after[name], value) for name, value in before.items())
    assert set(session.tensors()) == {tensor.name for tensor in model.tensors}


def test_graphs_are_fed_a_batch_of_one_and_all_tensors(model):
    session = Recorder(model)
    session.step(np.arange(5, dtype=np.int8))
    session.learn(2)
    (step, fed), (learn, given) = session.ran
    assert (step, learn) == ("step", "learn")
    names = {tensor.name for tensor in model.tensors}
    assert set(fed) == names | {"x"}
    assert set(given) == names | {"label"}
    assert fed["x"].tolist() == [[0, 1, 2, 3, 4]]
    assert (given["label"].tolist(), given["label"].dtype) == ([2], np.int32)
    assert given["t"].tolist() == [1]


def test_the_factory_survives_every_session(model):
    kept = {name: value.copy() for name, value in model.factory.items()}
    session = ReferenceSession(model)
    frames, _ = random_stream(model, 6, 0)
    for frame in frames:
        session.step(frame)
        session.learn(0)
    session.reset()
    assert all(np.array_equal(model.factory[name], value) for name, value in kept.items())
    assert model.pack(model.factory) == ReferenceSession(model).snapshot()


@pytest.mark.parametrize("backend", [ReferenceSession, OrtSession])
def test_a_window_equals_its_steps_with_learning_between(model, backend):
    frames, labels = random_stream(model, 30, 8)
    steps, windows = ReferenceSession(model), backend(model)
    for start in range(0, 30, 3):
        part = frames[start : start + 3]
        y = windows.window(part)
        assert y.dtype == np.int32
        assert y.tolist() == [steps.step(frame).tolist() for frame in part]
        for session in (steps, windows):
            session.learn(abs(int(labels[start])))
        assert windows.snapshot() == steps.snapshot()


@pytest.mark.parametrize("backend", [ReferenceSession, OrtSession])
@pytest.mark.parametrize(
    "xs",
    [
        np.zeros((2, 5), np.int8),
        np.zeros((4, 5), np.int8),
        np.zeros((3, 4), np.int8),
        np.zeros(5, np.int8),
        np.zeros((3, 5), np.float32),
        np.int8(1),
    ],
    ids=lambda xs: f"{xs.dtype}{xs.shape}",
)
def test_a_window_of_another_shape_is_one_line_and_changes_nothing(model, backend, xs):
    session = backend(model)
    before = session.snapshot()
    with pytest.raises(DataError, match=r"^window: expected int8 \(3, 5\), got .*$") as error:
        session.window(xs)
    assert "\n" not in str(error.value)
    assert session.snapshot() == before
