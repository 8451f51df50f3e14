"""The protocol of a new user: what is learned from and scored, in which order, and who decides."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tiny_data
from random_models import RandomModel, Shape
from toy import make_model

from edgesnn.adaptation.protocol import Outcome, Segment, User, meet, users
from edgesnn.data.dataset import frames
from edgesnn.errors import DataError
from edgesnn.runtime.guard import Guard
from edgesnn.runtime.ort import OrtSession
from edgesnn.runtime.session import Session

COUNTERS = ("seen", "factory_errors", "learned_errors", "use")


def toy_model(guarded=False):
    model = make_model({"length": 4, "hop": 2, "channels": 2}, (8,))
    model.factory = {"sum": np.zeros(1, np.int32), "bias": np.zeros(3, np.int32)}
    if guarded:
        offset = model.snapshot_bytes
        tensor = model.tensors[-1]
        for name in COUNTERS:
            model.tensors += (
                replace(tensor, name=f"guard.{name}", kind="learner", dtype="int32", shape=(1,), offset=offset),
            )
            model.factory[f"guard.{name}"] = np.zeros(1, np.int32)
            offset += 4
        model.snapshot_bytes = offset
    return model


class Scripted(Session):
    """Decides right or wrong as told, before and after learning; the label of a frame is its first number.

    `sum` counts steps since a reset, `bias[0]` steps that were learned from. `events` is what was asked of it. With a
    `guard`, that is what it has seen after learning, and the learned decisions are its own only where it says so.
    """

    def __init__(self, fixed=lambda frame: True, learned=lambda frame: True, guard=None):
        super().__init__(toy_model(guard is not None))
        self.fixed, self.learned, self.guard = fixed, learned, guard
        self.events = []
        self.tensors_now = {name: value.copy() for name, value in self.model.factory.items()}

    def _step(self, x):
        self.events.append(("step", tuple(x.tolist())))
        self.tensors_now["sum"] += 1
        uses = self.tensors_now["guard.use" if self.guard else "bias"][0]
        right = (self.learned if uses else self.fixed)(x)
        return np.eye(3, dtype=np.int32)[(int(x[0]) + (not right)) % 3]

    def _learn(self, label):
        self.events.append(("learn", label))
        self.tensors_now["bias"][0] += 1
        for name in COUNTERS if self.guard else ():
            self.tensors_now[f"guard.{name}"][0] = getattr(self.guard, {"use": "used"}.get(name, name))

    def _reset(self):
        self.events.append(("reset",))
        self.tensors_now["sum"][:] = 0

    def _snapshot(self):
        return self.model.pack(self.tensors_now)

    def _restore(self, snapshot):
        self.events.append(("factory" if not any(snapshot) else "other snapshot",))
        self.tensors_now = self.model.unpack(snapshot)


def user(person=1, recordings=3, length=20):
    """A user whose frames are all different; the first number is the label."""
    serial = iter(range(10**6))

    def segment(label):
        rows = [[label, *np.base_repr(next(serial) + 7**6, 7)[-6:], person] for _ in range(length)]
        return Segment(np.array(rows, np.int8), label)

    return User(person, [segment(n % 3) for n in range(recordings)])


def stepped(events):
    return [event[1] for event in events if event[0] == "step"]


def all_frames(one, start=0.0, stop=1.0):
    return [tuple(x.tolist()) for r in one.recordings for x in r.x[int(start * len(r.x)) : int(stop * len(r.x))]]


# Cutting recordings.


def test_recordings_of_each_person_are_complete_and_in_order():
    data = tiny_data.stream()
    model = toy_model()
    model.input = replace(model.input, mean=tuple(data.mean), std=tuple(data.std), scale=0.05)
    everyone = (*data.test, *data.train, *data.validation)
    found = users(model, data, everyone)
    assert [one.person for one in found] == [0, 1, 2, 3, 4, 5]
    for one in found:
        mine = [recording for recording in everyone if recording.person == one.person]
        for recording, segment in zip(mine, one.recordings, strict=True):
            np.testing.assert_array_equal(segment.x, model.quantize(frames(recording.rows, data.frame)))
            assert segment.label == recording.label
            assert len(segment.labelled) == int(0.2 * len(segment.x)) > 0
            assert segment.first_scored == int(0.25 * len(segment.x))
        assert len(one.labels) == sum(len(s.x) - s.first_scored for s in one.recordings)


@pytest.mark.parametrize("rows", [4, 10, 11])
def test_a_person_with_nothing_but_short_recordings_is_refused(rows):
    data = tiny_data.stream()
    with pytest.raises(DataError, match=r"^person 0: expected .* left to learn from, got none") as error:
        users(toy_model(), data, tiny_data.recordings(range(1), rows))
    assert "\n" not in str(error.value)


def test_a_short_recording_among_longer_ones_is_no_mistake():
    data = tiny_data.stream()
    short, long = (tiny_data.recordings(range(1), rows) for rows in (8, 300))
    [one] = users(toy_model(), data, [*short, *long])
    assert min(len(segment.labelled) for segment in one.recordings) == 0


def test_a_recording_without_a_person_belongs_to_nobody():
    data = tiny_data.stream()
    named, nameless = data.test[0], replace(data.test[1], person=None)
    [one] = users(toy_model(), data, [named, nameless])
    assert (one.person, len(one.recordings)) == (named.person, 1)


# Meeting a user.


def test_all_learning_comes_before_all_scoring_and_nothing_scored_is_learned_from():
    one, session = user(), Scripted()
    meet(session, one)
    starts = [i for i, event in enumerate(session.events) if event == ("factory",)]
    fixed, learned = session.events[starts[0] : starts[1]], session.events[starts[1] :]
    assert starts[0] == 0
    assert ("other snapshot",) not in session.events
    assert stepped(fixed) == all_frames(one)
    assert not [event for event in fixed if event[0] == "learn"]
    last = max(i for i, event in enumerate(learned) if event[0] == "learn")
    assert stepped(learned[:last]) == all_frames(one, stop=0.2)
    assert stepped(learned[last:]) == all_frames(one)


def test_each_learned_frame_is_learned_once_with_its_label():
    one, session = user(), Scripted()
    meet(session, one)
    pairs = [
        (frame[1], event[1])
        for frame, event in zip(session.events, session.events[1:], strict=False)
        if event[0] == "learn"
    ]
    assert pairs == [(frame, frame[0]) for frame in all_frames(one, stop=0.2)]


def test_recordings_are_learned_apart_and_scored_as_one_stream():
    one, session = user(), Scripted()
    meet(session, one)
    runs = []  # steps between two resets or restores
    for event in session.events:
        if event[0] in ("factory", "reset"):
            runs.append(0)
        runs[-1] += event[0] == "step"
    assert [run for run in runs if run] == [60, 4, 4, 4, 60]


def right_in(*first):
    """Right on frames whose first number, the label, is one of these."""
    return lambda frame: int(frame[0]) in first


@pytest.mark.parametrize("used", [True, False])
def test_the_device_decides_as_its_guard_says(used):
    """Where the guard says no, what was learned is still measured, and the device decides as before."""
    one, guard = user(), Guard(100, 20, 10, used)
    outcome = meet(Scripted(right_in(0), right_in(0, 1), guard), one)
    scored = np.array(all_frames(one, start=0.25))
    expected = {
        name: [(row[0] + (not right(row))) % 3 for row in scored]
        for name, right in (("before", right_in(0)), ("learned", right_in(0, 1)))
    }
    assert one.labels.tolist() == scored[:, 0].tolist()
    assert outcome.before.tolist() == expected["before"]
    assert outcome.learned.tolist() == expected["learned"]
    assert outcome.after.tolist() == expected["learned" if used else "before"]
    assert (outcome.guard, outcome.kept) == (guard, used)
    assert outcome.accuracy(outcome.before) == 1 / 3
    assert outcome.accuracy(outcome.learned) == 2 / 3


def test_a_model_without_a_guard_uses_what_it_learned():
    outcome = meet(Scripted(right_in(0), right_in(0, 1)), user())
    assert outcome.guard is None
    assert outcome.kept
    assert outcome.after.tolist() == outcome.learned.tolist() != outcome.before.tolist()


def test_the_prequential_share_is_of_decisions_before_each_label():
    """The first decision of all is that of the factory; from the first label on it is the learned one's."""
    outcome = meet(Scripted(right_in(), right_in(0, 1)), user())
    assert outcome.prequential == pytest.approx((8 - 1) / 12)


def test_progress_counts_the_steps_that_are_taken():
    for guard, passes in ((None, 2), (Guard(9, 1, 1, True), 2), (Guard(9, 1, 1, False), 3)):
        ticks = []
        one, session = user(), Scripted(guard=guard)
        meet(session, one, ticks.append)
        assert sum(ticks) == len(stepped(session.events)) == 12 + 60 * passes
        assert sum(ticks) <= one.steps


def test_each_user_meets_the_factory_model(tmp_path):
    """Whom the device met before makes no difference, with real learning and real states."""
    model = RandomModel(Shape((5,), hidden=(("BinaryLinear", 6),), steps=2), seed=1).write(tmp_path, vectors=False)
    generator = np.random.default_rng(0)

    def person(number):
        frames_ = [generator.integers(-128, 128, (24, 5)).astype(np.int8) for _ in range(3)]
        return User(number, [Segment(x, label) for label, x in enumerate(frames_)])

    people = [person(number) for number in range(3)]
    with OrtSession(model) as session:
        together = [meet(session, one) for one in people]
    for one, outcome in zip(people, together, strict=True):
        with OrtSession(model) as session:
            assert_same(meet(session, one), outcome)
    assert any((outcome.before != outcome.learned).any() for outcome in together)


def assert_same(left: Outcome, right: Outcome):
    for name in ("before", "learned", "after"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name))
    assert (left.guard, left.prequential) == (right.guard, right.prequential)
