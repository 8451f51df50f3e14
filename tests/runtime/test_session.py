"""One interface over the backends: the same calls give the same integers, and the same mistakes the same line."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_models import RandomModel, Shape

from edgesnn import runtime
from edgesnn.errors import DataError, EdgesnnError, ModelError, StateError
from edgesnn.export.c_package import c
from edgesnn.runtime.state import NoStateError
from edgesnn.runtime.vectors import random_stream

BACKENDS = ("reference", "ort", "native")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    RandomModel(Shape((5,), hidden=(("BinaryLinear", 4), ("Linear", 6)), steps=3), seed=6).write(path)
    c(path)
    return path


@pytest.fixture(params=BACKENDS)
def session(folder, request):
    with runtime.open(folder, backend=request.param) as session:
        yield session


def drive(session, steps, seed=0):
    """Step along a random stream, learning from half of it; all outputs."""
    frames, labels = random_stream(session.model, steps, seed)
    y = []
    for frame, label in zip(frames, labels, strict=True):
        y.append(session.step(frame).tolist())
        if label >= 0:
            session.learn(int(label))
    return y


def refusal(action, kind, *words):
    with pytest.raises(EdgesnnError) as error:
        action()
    text = str(error.value)
    assert type(error.value) is kind
    assert "\n" not in text
    assert all(word in text for word in words), text


def test_every_call_gives_the_same_integers_on_every_backend(folder, tmp_path):
    def story(backend):
        path = tmp_path / f"{backend}.state"
        with runtime.open(folder, backend=backend) as session:
            yield drive(session, 9)
            session.save(path)
            yield path.read_bytes()
            session.reset()
            yield session.snapshot()
            yield drive(session, 4, seed=1)
            session.load(path)
            yield {name: value.tolist() for name, value in session.tensors().items()}
            yield drive(session, 4, seed=2)
            session.save(path)
            yield path.read_bytes()

    expected = list(story("reference"))
    assert expected[2] != expected[0]
    for backend in BACKENDS[1:]:
        assert list(story(backend)) == expected


def test_an_answer_is_int32_for_each_class(session):
    y = session.step(np.ones(5, np.int8))
    assert (y.shape, y.dtype) == ((3,), np.int32)


def test_answers_and_tensors_are_not_changed_by_later_steps(session):
    frames, _ = random_stream(session.model, 3, 0)
    y, tensors = session.step(frames[0]), session.tensors()
    kept = y.copy(), {name: value.copy() for name, value in tensors.items()}
    drive(session, 3)
    np.testing.assert_array_equal(y, kept[0])
    assert all(np.array_equal(tensors[name], value) for name, value in kept[1].items())


def test_a_step_does_not_change_or_keep_its_frame(session):
    frame = np.array([1, -2, 3, -4, 5], np.int8)
    session.step(frame)
    assert frame.tolist() == [1, -2, 3, -4, 5]
    before = session.snapshot()
    frame[:] = 100
    assert session.snapshot() == before


def test_a_frame_may_be_a_view_of_other_memory(folder, session):
    frames = np.arange(-20, 20, dtype=np.int8).reshape(5, 8)
    with runtime.open(folder, backend="reference") as other:
        np.testing.assert_array_equal(session.step(frames[:, 3]), other.step(frames[:, 3].copy()))


def test_reset_clears_states_alone(session):
    drive(session, 8)
    before = session.tensors()
    session.reset()
    after = session.tensors()
    kinds = {tensor.name: tensor.kind for tensor in session.model.tensors}
    for name, kind in kinds.items():
        np.testing.assert_array_equal(after[name], 0 if kind == "state" else before[name])
    assert before["readout.acc"].any()
    assert (after["readout.weight"] != session.model.factory["readout.weight"]).any()
    assert after["learn.count"][0] > 0


def test_learning_changes_parameters_and_counts(session):
    session.step(np.full(5, 90, np.int8))
    before = session.tensors()
    for count in (1, 2):
        session.learn(2)
        after = session.tensors()
        assert after["learn.count"].tolist() == [count]
    changed = {name for name in after if not np.array_equal(after[name], before[name])}
    assert changed >= {"readout.bias", "learn.count"}
    assert changed <= {"readout.bias", "readout.weight", "learn.count"}


def test_a_snapshot_goes_from_backend_to_backend(folder):
    frames, labels = random_stream(runtime.Model.load(folder), 60, 5)
    with runtime.open(folder, backend="reference") as alone:
        snapshot = alone.snapshot()
        for start in range(0, 60, 5):
            with runtime.open(folder, backend=BACKENDS[start // 5 % 3]) as session:
                session.restore(snapshot)
                for frame, label in zip(frames[start : start + 5], labels[start : start + 5], strict=True):
                    assert session.step(frame).tolist() == alone.step(frame).tolist()
                    if label >= 0:
                        session.learn(int(label))
                        alone.learn(int(label))
                snapshot = session.snapshot()
                assert snapshot == alone.snapshot()


def test_saving_on_one_backend_and_loading_on_another(folder, tmp_path):
    for writer, reader in zip(BACKENDS, (*BACKENDS[1:], BACKENDS[0]), strict=True):
        with runtime.open(folder, backend=writer) as first, runtime.open(folder, backend=reader) as second:
            drive(first, 6, seed=7)
            first.save(tmp_path / writer)
            second.load(tmp_path / writer)
            assert second.snapshot() == first.snapshot()
            assert drive(first, 6, seed=8) == drive(second, 6, seed=8)


def test_a_restored_snapshot_is_a_copy(session):
    drive(session, 3)
    middle = session.snapshot()
    ahead = drive(session, 5, seed=1)
    assert session.snapshot() != middle
    session.restore(middle)
    assert session.snapshot() == middle
    assert drive(session, 5, seed=1) == ahead


@pytest.fixture(scope="module")
def pair(folder):
    with runtime.open(folder) as left, runtime.open(folder) as right:
        yield left, right


FINITE = st.floats(allow_nan=False, allow_infinity=False, width=32)


@given(st.lists(FINITE, min_size=5, max_size=5))
def test_floats_are_quantized_first(pair, values):
    """scale 0.05, mean 0, std 1: Python's own round() is half to even."""
    left, right = pair
    frame = [max(-128, min(127, round(value / 0.05))) for value in values]
    assert left.step(np.array(values)).tolist() == right.step(np.array(frame, np.int8)).tolist()
    assert left.snapshot() == right.snapshot()


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (np.zeros(5, np.uint8), ("expected int8 (5,)", "got uint8 (5,)")),
        (np.zeros(5, np.int64), ("got int64 (5,)",)),
        (np.zeros(4, np.int8), ("got int8 (4,)",)),
        (np.zeros((1, 5), np.int8), ("got int8 (1, 5)",)),
        (np.int8(3), ("got int8 ()",)),
        (np.zeros(5, bool), ("got bool",)),
        (np.zeros(5, complex), ("got complex128",)),
        (["a"] * 5, ("got <U1",)),
        ([1, 2, 3, 4, 5], ("got int64",)),
        (None, ("got object",)),
        (np.zeros(4), ("expected shape (5,), got (4,)",)),
        (np.zeros((2, 5)), ("(5,)", "(2, 5)")),
        (np.array([0, 0, math.nan, 0, 0]), ("finite",)),
        (np.array([0, 0, math.inf, 0, 0], np.float32), ("finite",)),
    ],
    ids=str,
)
def test_a_wrong_frame_is_one_line_and_changes_nothing(session, frame, words):
    drive(session, 2)
    before = session.snapshot()
    refusal(lambda: session.step(frame), DataError, "frame: expected", *words)
    assert session.snapshot() == before


@pytest.mark.parametrize("label", [-1, 3, 2**31, -(2**40)])
def test_a_wrong_label_is_one_line_and_changes_nothing(session, label):
    drive(session, 2)
    before = session.snapshot()
    refusal(lambda: session.learn(label), DataError, f"label: expected 0 to 2, got {label}", "c0, c1, c2")
    assert session.snapshot() == before


@pytest.mark.parametrize("label", [1.5, math.nan, "c1", None])
def test_a_label_that_is_no_class_index_is_one_line(session, label):
    before = session.snapshot()
    refusal(lambda: session.learn(label), DataError, "label: expected 0 to 2")
    assert session.snapshot() == before


def test_a_label_may_be_any_integer(folder):
    with runtime.open(folder) as left, runtime.open(folder) as right:
        for session, label in ((left, 1), (right, np.int64(1))):
            session.step(np.full(5, 50, np.int8))
            session.learn(label)
        assert left.snapshot() == right.snapshot()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_model_exported_without_learning_refuses_to_learn(tmp_path, backend):
    RandomModel(Shape((4,), hidden=(("BinaryLinear", 3),), learn=False), seed=2).write(tmp_path)
    c(tmp_path)
    with runtime.open(tmp_path, backend=backend) as session:
        session.step(np.ones(4, np.int8))
        refusal(lambda: session.learn(0), ModelError, str(tmp_path), "--learn readout")


def test_a_wrong_snapshot_or_state_is_one_line_and_changes_nothing(session, tmp_path):
    drive(session, 2)
    before = session.snapshot()
    for snapshot in (b"", before[:-4], before + bytes(4)):
        refusal(lambda snapshot=snapshot: session.restore(snapshot), StateError, f"expected {len(before)} bytes")
    refusal(lambda: session.load(tmp_path / "none.state"), NoStateError, "none.state")
    (tmp_path / "rows.csv").write_text("x,y\n1,2\n")
    refusal(lambda: session.load(tmp_path / "rows.csv"), StateError, "rows.csv")
    refusal(lambda: session.save(tmp_path / "rows.csv"), StateError, "rows.csv")
    assert session.snapshot() == before


def test_a_state_of_another_model_is_one_line(session, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    RandomModel(Shape((5,), hidden=(("BinaryLinear", 4), ("Linear", 6)), steps=3), seed=8).write(other, vectors=False)
    with runtime.open(other) as stranger:
        stranger.save(tmp_path / "other.state")
    words = (f"{session.model.model_id:016x}", f"{stranger.model.model_id:016x}")
    refusal(lambda: session.load(tmp_path / "other.state"), StateError, *words)
    refusal(lambda: session.save(tmp_path / "other.state"), StateError, *words)


def test_a_damaged_learning_graph_is_told_when_it_is_needed(tmp_path):
    RandomModel(Shape((4,), hidden=(("BinaryLinear", 3),)), seed=2).write(tmp_path, vectors=False)
    (tmp_path / "learn.onnx").write_bytes(b"\x08")
    for backend in ("reference", "ort"):
        with runtime.open(tmp_path, backend=backend) as session:
            session.step(np.ones(4, np.int8))
            refusal(lambda session=session: session.learn(0), ModelError, "learn.onnx")
