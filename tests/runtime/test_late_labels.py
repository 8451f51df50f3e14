"""Labels that come after their steps, against learning step by step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import RandomModel, Shape
from tiny_run import exported, movements
from toy import ToySession, make_model

from edgesnn import runtime
from edgesnn.errors import ConfigError, DataError
from edgesnn.runtime import stream
from edgesnn.runtime.late_labels import LateRing, left_to_learn
from edgesnn.runtime.model import FrameSpec
from edgesnn.runtime.session import Session
from edgesnn.runtime.stream import Label, Row

RATE_HZ = 8.0
CHANNELS = 3


class Trace(ToySession):
    """What is learned is the sum that the step left, so that one sees from which step."""

    def _learn(self, label: int) -> None:
        self.bias[label] += self.sum


@pytest.fixture
def toy() -> Trace:
    """A step a row, one row a frame, `sum` = 1, 3, 6, 10, 15, ... for rows 1, 2, 3, ..."""
    return Trace(make_model({"length": 1, "hop": 1, "channels": 1}, (1,), rate_hz=10.0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("late")
    RandomModel(Shape((CHANNELS,), hidden=(("BinaryLinear", 6), ("Linear", 5)), classes=3), seed=8).write(
        folder, vectors=False
    )
    return folder


def opened(folder: Path) -> Session:
    """A random network as a stream: a row is a frame, states go on from one to the next."""
    session = runtime.open(folder, backend="reference")
    session.model.rate_hz = RATE_HZ
    session.model.frame = FrameSpec(length=1, hop=1, channels=CHANNELS)
    return session


def rows(count: int) -> list[Row]:
    return [Row(values) for values in np.random.default_rng(3).normal(0, 2, (count, CHANNELS))]


def numbered(count: int) -> list[stream.Row]:
    return [Row([float(at)]) for at in range(1, count + 1)]


def adapted(session: Session, items: list[stream.Row | Label], late: float) -> tuple[stream.Counts, list[stream.Event]]:
    counts, events = stream.Counts(), list[stream.Event]()
    policy = stream.Policy(late_seconds=late, stuck_seconds=0)
    for _ in stream.adapt(session, items, policy=policy, on_event=events.append, counts=counts):
        pass
    return counts, events


def test_a_label_teaches_each_step_of_its_seconds_from_the_state_it_left(toy: Trace) -> None:
    counts, [event] = adapted(toy, [*numbered(5), Label(1, 0.3), *numbered(1)], late=1.0)
    assert toy.bias.tolist() == [0, 6 + 10 + 15, 0]
    assert toy.sum == 16  # the stream goes on as though nothing had been
    assert event == {
        "event": "label", "seconds": 0.4, "label": 1, "label_seconds": 0.3, "steps": 3, "first": 2, "last": 4,
        "correct": 0, "learned": 3, "short": False, "accuracy": 0.0,
    }  # fmt: skip
    assert (counts.labelled, counts.correct, counts.learned, counts.short) == (3, 0, 3, 0)


def test_decisions_are_judged_as_they_were_made(toy: Trace) -> None:
    counts, _ = adapted(toy, [*numbered(4), Label(0, 0.2), Label(1, 9.0)], late=9.0)
    assert (counts.labelled, counts.correct) == (4, 2)


def test_a_step_is_learned_once_however_many_labels_name_it(toy: Trace) -> None:
    items = [Row([1.0], label=2), *numbered(2), Label(1, 0.1), Label(1, 5.0), Label(1, 5.0)]
    counts, events = adapted(toy, items, late=5.0)
    assert toy.bias.tolist() == [0, 4 + 2, 1]
    assert counts.learned == 3
    assert [event["steps"] for event in events] == [1, 1, 0]


def test_what_the_ring_let_go_is_told_and_lost(toy: Trace) -> None:
    counts, [event] = adapted(toy, [*numbered(7), Label(1, 0.6)], late=0.3)
    assert toy.bias.tolist() == [0, 15 + 21 + 28, 0]
    assert (event["short"], counts.short) == (True, 1)
    assert (event["steps"], event["first"], event["last"]) == (3, 4, 6)  # in their order, wherever in the ring


def test_a_time_stamp_says_where_the_seconds_end(toy: Trace) -> None:
    items = [Row([1.0], time=50 + 0.1 * at) for at in range(6)]
    adapted(toy, [*items, Label(2, 0.2, time=50.3)], late=5.0)
    assert toy.bias.tolist() == [0, 0, 3 + 4]


def test_run_scores_late_labels_and_learns_nothing(toy: Trace) -> None:
    counts = stream.Counts()
    list(stream.run(toy, [*numbered(4), Label(0, 0.2)], stream.Policy(late_seconds=1), counts=counts))
    assert (counts.labelled, counts.correct, counts.learned, toy.bias.tolist()) == (2, 2, 0, [0, 0, 0])


def test_a_stuck_channel_spares_late_steps_too(toy: Trace) -> None:
    items = [Row([1.0])] * 6
    counts = stream.Counts()
    policy = stream.Policy(late_seconds=5, stuck_seconds=0.3)
    list(stream.adapt(toy, [*items, Label(1, 5.0)], policy=policy, counts=counts))
    assert toy.bias.tolist() == [0, 1 + 2 + 3 + 4, 0]
    assert (counts.learned, counts.spared, counts.labelled) == (4, 2, 6)


def test_a_late_label_without_room_for_steps_says_what_to_do(toy: Trace) -> None:
    with pytest.raises(ConfigError, match=r"a label of the last 2 s; set --late-seconds"):
        adapted(toy, [*numbered(2), Label(1, 2.0)], late=0)


@pytest.mark.parametrize("value", [-1, 3])
def test_a_late_label_that_is_no_class_is_refused(toy: Trace, value: int) -> None:
    with pytest.raises(DataError, match="label: expected 0 to 2"):
        adapted(toy, [*numbered(2), Label(value, 2.0)], late=3)


def test_a_model_without_a_rate_keeps_no_seconds() -> None:
    with pytest.raises(ConfigError, match="a model with a sample rate"):
        LateRing(make_model(None, (1, 2, 2), rate_hz=0.0), 1.0, states=True)


def test_more_steps_than_memory_are_refused(toy: Trace) -> None:
    for seconds in (1e15, 1e18, 1e308):
        with pytest.raises(ConfigError, match=r"steps of 4 bytes that fit the memory, got those of .* keep fewer"):
            LateRing(toy.model, seconds, states=True)


def test_the_memory_of_the_ring_is_taken_at_once(toy: Trace) -> None:
    ring = LateRing(toy.model, 2.0, states=True)
    before = ring.nbytes
    assert (len(ring), before) == (20, 20 * (4 + 8 + 8 + 4 + 1 + 1))  # `sum` is the only state; parameters are not kept
    for step in range(100):
        ring.push(toy, step, step / 10, 0, labelled=False, healthy=True)
    assert ring.nbytes == before


@settings(max_examples=15)
@given(st.lists(st.one_of(st.none(), st.integers(0, 2)), min_size=1, max_size=12))
def test_labels_one_step_late_are_labels_in_time(folder: Path, labels: list[int | None]) -> None:
    late, in_time = opened(folder), opened(folder)
    plain = [Row(row.values, label) for row, label in zip(rows(12), labels, strict=False)]
    adapted(in_time, plain, late=0)
    items: list[Row | Label] = []
    for row in plain:
        items.append(Row(row.values))
        if row.label is not None:
            items.append(Label(row.label, 1 / RATE_HZ))
    adapted(late, items, late=1.0)
    assert late.snapshot() == in_time.snapshot()


@pytest.mark.parametrize("scope", ["means", "readout"])
def test_labels_one_step_late_are_labels_in_time_for_each_learner(scope: str) -> None:
    """Two rows a step; the label of every second row comes with it, or after it."""
    values = [(row, part.label) for part in movements(4) for row in part.rows[:80]]
    model = exported(scope)
    with runtime.open(model.path) as late, runtime.open(model.path) as in_time:
        adapted(in_time, [Row(row, label) for row, label in values], late=0)
        taught = ([Row(row), Label(label, 1 / model.rate_hz)] for row, label in values)
        adapted(late, [item for pair in taught for item in pair], late=1.0)
        assert late.snapshot() == in_time.snapshot()
        assert late.snapshot() != model.pack(model.factory)


def test_a_label_of_seconds_settles_and_is_compared_on() -> None:
    """How long a label has lasted counts on over steps that are learned late, and on to the next label."""
    model = exported("means")
    check, settle = (model.learn.numbers[name] for name in ("check", "settle"))
    part = movements(4)[1]
    with runtime.open(model.path) as session:
        rows_ = [Row(row) for row in part.rows[:83]]  # 40 steps
        counts, _ = adapted(session, [*rows_[:43], Label(part.label, 9.0), *rows_[43:], Label(part.label, 9.0)], late=9)
        tensors = session.tensors()
        assert counts.learned == 40
        assert (tensors["guard.run"].item(), tensors["guard.last"].item()) == (40, part.label)
        assert tensors["means.count"].sum() == 40 - (settle - 1)
        assert tensors["guard.seen"].item() == 40 - (check - 1)


@pytest.mark.parametrize("scope", ["means", "readout"])
def test_what_is_kept_of_a_step_is_its_trace(scope: str) -> None:
    model = exported(scope)
    assert [tensor.name for tensor in left_to_learn(model)] == ["readout.trace"]
    assert LateRing(model, 1.0, states=True).nbytes == 10 * (12 * 4 + 22)


@pytest.mark.parametrize(("kept", "span"), [(12, 12), (12, 5), (4, 9)])
def test_many_late_steps_are_learned_from_the_states_they_left(folder: Path, kept: int, span: int) -> None:
    """Against the definition: go back to each state with the parameters of now, learn, and come back."""
    late, want = opened(folder), opened(folder)
    adapted(late, [*rows(10), Label(1, span / RATE_HZ)], late=kept / RATE_HZ)
    passed = []
    for row in rows(10):
        want.step(np.asarray(row.values))
        passed.append(want.tensors())
    states = [tensor.name for tensor in want.model.tensors if tensor.kind == "state"]
    present = passed[-1]
    for then in passed[-min(kept, span, 10) :]:
        want.restore(want.model.pack(want.tensors() | {name: then[name] for name in states}))
        want.learn(1)
    want.restore(want.model.pack(want.tensors() | {name: present[name] for name in states}))
    assert late.snapshot() == want.snapshot()
    assert late.tensors()["learn.count"] == min(kept, span, 10)
