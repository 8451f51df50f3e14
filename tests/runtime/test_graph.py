"""Sessions over graphs: which tensors go in and out, and windows that equal steps."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from random_models import RandomModel, Shape

from edgesnn.errors import DataError
from edgesnn.export.window import window
from edgesnn.runtime.graph import GraphSession
from edgesnn.runtime.model import Model, WindowSpec
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


def exported(folder, steps, held=False):
    """A model of three time steps whose window takes this many, or any."""
    model = RandomModel(Shape((5,), hidden=(("BinaryLinear", 4),), steps=3), seed=3).write(folder, vectors=False)
    onnx.save_model(window(model.step, steps, held=held), folder / "window.onnx")
    return Model.load(folder)


@pytest.mark.parametrize("backend", [ReferenceSession, OrtSession])
def test_a_window_of_any_number_of_steps_goes_on_where_the_last_ended(tmp_path, backend):
    model = exported(tmp_path, None)
    assert model.window == WindowSpec(None, held=False)
    frames, _ = random_stream(model, 12, 8)
    steps, windows = ReferenceSession(model), backend(model)
    for start, end in ((0, 1), (1, 6), (6, 8), (8, 12)):
        y = windows.window(frames[start:end])
        assert y.tolist() == [steps.step(frame).tolist() for frame in frames[start:end]]
        assert windows.snapshot() == steps.snapshot()


@pytest.mark.parametrize("steps", [None, 3])
@pytest.mark.parametrize("backend", [ReferenceSession, OrtSession])
def test_a_window_of_one_frame_is_that_frame_at_every_step(tmp_path, backend, steps):
    model = exported(tmp_path, steps, held=True)
    assert model.window == WindowSpec(steps, held=True)
    frames, _ = random_stream(model, 3, 8)
    single, windows = ReferenceSession(model), backend(model)
    for frame, count in zip(frames, (None, 3, 5 if steps is None else 3), strict=True):
        y = windows.window(frame, count)
        assert y.tolist() == [single.step(frame).tolist() for _ in range(count or 3)]
        assert windows.snapshot() == single.snapshot()


@pytest.mark.parametrize(
    ("steps", "held", "xs", "count", "words"),
    [
        (None, False, np.zeros((0, 5), np.int8), None, r"^window: expected 1 or more time steps, got 0; give"),
        (None, False, np.zeros((2, 4), np.int8), None, r"^window: expected int8 \(T, 5\), got int8 \(2, 4\); see"),
        (None, False, np.zeros((2, 5), np.int8), 3, r"^window: expected 1 or more time steps, got 3; give as many"),
        (None, True, np.zeros((2, 5), np.int8), None, r"^window: expected int8 \(5,\), got int8 \(2, 5\); see"),
        (None, True, np.zeros(5, np.int8), 0, r"^window: expected 1 or more time steps, got 0; give as many"),
        (3, True, np.zeros(5, np.int8), 4, r"^window: expected 3 time steps, got 4; give as many, or export again"),
    ],
)
def test_a_window_that_is_given_something_else_says_what_it_takes(tmp_path, steps, held, xs, count, words):
    session = OrtSession(exported(tmp_path, steps, held))
    before = session.snapshot()
    with pytest.raises(DataError, match=words) as error:
        session.window(xs, count)
    assert "\n" not in str(error.value)
    assert session.snapshot() == before
