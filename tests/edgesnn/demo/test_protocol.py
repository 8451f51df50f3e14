"""The protocol of the demo: what is learned from, checked and scored, in which order, and who decides."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tiny_data
from random_models import RandomModel, Shape
from toy import make_model

from edgesnn.data.dataset import frames
from edgesnn.demo.protocol import Outcome, Segment, User, meet, users
from edgesnn.errors import DataError
from edgesnn.runtime.ort import OrtSession
from edgesnn.runtime.session import Session


def toy_model():
    model = make_model({"length": 4, "hop": 2, "channels": 2}, (8,))
    model.factory = {"sum": np.zeros(1, np.int32), "bias": np.zeros(3, np.int32)}
    return model


class Scripted(Session):
    """Decides right or wrong as told, before and after learning; the label of a frame is its first number.

    `sum` counts steps since a reset, `bias[0]` steps that were learned from. `events` is what was asked of it.
    """

    def __init__(self, fixed=lambda frame: True, learned=lambda frame: True):
        super().__init__(toy_model())
        self.fixed, self.learned = fixed, learned
        self.events = []
        self.tensors_now = {name: value.copy() for name, value in self.model.factory.items()}

    def _step(self, x):
        self.events.append(("step", tuple(x.tolist())))
        self.tensors_now["sum"] += 1
        right = (self.learned if self.tensors_now["bias"][0] else self.fixed)(x)
        return np.eye(3, dtype=np.int32)[(int(x[0]) + (not right)) % 3]

    def _learn(self, label):
        self.events.append(("learn", label))
        self.tensors_now["bias"][0] += 1

    def _reset(self):
        self.events.append(("reset",))
        self.tensors_now["sum"][:] = 0

    def _snapshot(self):
        return self.model.pack(self.tensors_now)

    def _restore(self, snapshot):
        self.events.append(("factory" if not any(snapshot) else "other snapshot",))
        self.tensors_now = self.model.unpack(snapshot)


def user(person=1, recordings=3, lengths=(4, 2, 9)):
    """A user whose frames are all different; the first number is the label."""
    serial = iter(range(10**6))

    def segment(label, length):
        rows = [[label, *np.base_repr(next(serial) + 7**6, 7)[-6:], person] for _ in range(length)]
        return Segment(np.array(rows, np.int8), label)

    parts = [[segment(n % 3, length) for n in range(recordings)] for length in lengths]
    return User(person, *parts)


def all_frames(segments):
    return [tuple(x.tolist()) for segment in segments for x in segment.x]


# Cutting recordings.


def test_cuts_are_disjoint_complete_and_in_order():
    data = tiny_data.stream()
    model = toy_model()
    model.input = replace(model.input, mean=tuple(data.mean), std=tuple(data.std), scale=0.05)
    everyone = (*data.test, *data.train, *data.validation)
    found = users(model, data, everyone)
    assert [one.person for one in found] == [0, 1, 2, 3, 4, 5]
    for one in found:
        mine = [recording for recording in everyone if recording.person == one.person]
        assert len(one.learn) == len(one.check) == len(one.score) == len(mine) == 3
        for recording, *parts in zip(mine, one.learn, one.check, one.score, strict=True):
            whole = model.quantize(frames(recording.rows, data.frame))
            np.testing.assert_array_equal(np.concatenate([part.x for part in parts]), whole)
            assert {part.label for part in parts} == {recording.label}
            sizes = [len(part.x) for part in parts]
            assert sizes[0] == int(0.15 * len(whole))
            assert sizes[0] + sizes[1] == int(0.2 * len(whole))
            assert min(sizes) > 0


@pytest.mark.parametrize("rows", [22, 23, 26, 41, 300])
def test_recordings_of_any_length_are_cut_without_loss(rows):
    data = tiny_data.stream()
    [one] = users(toy_model(), data, tiny_data.recordings(range(1), rows))
    for parts in zip(one.learn, one.check, one.score, strict=True):
        assert sum(len(part.x) for part in parts) == (rows - 4) // 2 + 1
        assert all(part.x.dtype == np.int8 for part in parts)


@pytest.mark.parametrize(("rows", "what"), [(4, "learn from"), (10, "learn from"), (16, "check"), (30, "check")])
def test_a_person_with_nothing_but_short_recordings_is_refused(rows, what):
    data = tiny_data.stream()
    with pytest.raises(DataError, match=f"^person 0: expected .* left to {what}, got none") as error:
        users(toy_model(), data, tiny_data.recordings(range(1), rows))
    assert "\n" not in str(error.value)


def test_a_short_recording_among_longer_ones_is_no_mistake():
    data = tiny_data.stream()
    short, long = (tiny_data.recordings(range(1), rows) for rows in (16, 300))
    [one] = users(toy_model(), data, [*short, *long])
    assert min(len(segment.x) for segment in one.check) == 0


def test_a_recording_without_a_person_belongs_to_nobody():
    data = tiny_data.stream()
    named, nameless = data.test[0], replace(data.test[1], person=None)
    [one] = users(toy_model(), data, [named, nameless])
    assert (one.person, len(one.score)) == (named.person, 1)


# Meeting a user.


def test_all_learning_comes_before_all_scoring_and_nothing_scored_is_learned_from():
    one, session = user(), Scripted()
    meet(session, one)
    starts = [i for i, event in enumerate(session.events) if event == ("factory",)]
    assert starts[0] == 0
    assert ("other snapshot",) not in session.events
    fixed, check, learned = (
        session.events[start:stop] for start, stop in zip(starts, [*starts[1:], None], strict=True)
    )
    assert [event[1] for event in fixed if event[0] == "step"] == all_frames(one.score)
    assert [event[1] for event in check if event[0] == "step"] == all_frames(one.check)
    assert not [event for event in (*fixed, *check) if event[0] == "learn"]

    last = max(i for i, event in enumerate(learned) if event[0] == "learn")
    assert [event[1] for event in learned[:last] if event[0] == "step"] == all_frames(one.learn)
    after = [event[1] for event in learned[last:] if event[0] == "step"]
    assert after == all_frames(one.check) + all_frames(one.score)


def test_each_learned_frame_is_learned_once_with_its_label():
    one, session = user(), Scripted()
    meet(session, one)
    pairs = [
        (frame[1], event[1])
        for frame, event in zip(session.events, session.events[1:], strict=False)
        if event[0] == "learn"
    ]
    assert pairs == [(frame, frame[0]) for frame in all_frames(one.learn)]


def test_recordings_are_learned_and_checked_apart_and_scored_as_one_stream():
    one, session = user(recordings=3, lengths=(4, 2, 9)), Scripted()
    meet(session, one)
    runs = []  # steps between two resets or restores
    for event in session.events:
        if event[0] in ("factory", "reset"):
            runs.append(0)
        runs[-1] += event[0] == "step"
    assert [run for run in runs if run] == [27, 2, 2, 2, 4, 4, 4, 2, 2, 2, 27]


def right_in(*first):
    """Right on frames whose first number, the label, is one of these."""
    return lambda frame: int(frame[0]) in first


@pytest.mark.parametrize(
    ("fixed", "learned", "kept"),
    [
        (right_in(0), right_in(0, 1), True),
        (right_in(0, 1), right_in(0), False),
        (right_in(0, 1, 2), right_in(), False),
        (right_in(), right_in(0, 1, 2), True),
        (right_in(0), right_in(1), False),  # as good is not better
    ],
)
def test_the_guard_keeps_what_is_better_and_rolls_back_the_rest(fixed, learned, kept):
    one = user()
    outcome = meet(Scripted(fixed, learned), one)
    frames_ = np.array(all_frames(one.score))
    expected = {
        name: [(row[0] + (not right(row))) % 3 for row in frames_] for name, right in (("f", fixed), ("l", learned))
    }
    assert outcome.labels.tolist() == frames_[:, 0].tolist()
    assert outcome.before.tolist() == expected["f"]
    assert outcome.learned.tolist() == expected["l"]
    assert outcome.kept is kept
    assert outcome.after.tolist() == expected["l" if kept else "f"]
    assert outcome.check_fixed == pytest.approx(np.mean([fixed(row) for row in all_frames(one.check)]))
    assert outcome.check_learned == pytest.approx(np.mean([learned(row) for row in all_frames(one.check)]))
    assert outcome.accuracy(outcome.after) == np.mean([(learned if kept else fixed)(row) for row in frames_])


def test_the_guard_sees_the_check_and_not_the_score():
    """Better on the check, worse on the score: kept; a guard that looked at the score would be cheating."""
    one = user()
    checked = set(all_frames(one.check))
    outcome = meet(Scripted(lambda x: tuple(x) not in checked, lambda x: tuple(x) in checked), one)
    assert outcome.kept
    assert outcome.accuracy(outcome.before) == 1
    assert outcome.accuracy(outcome.after) == 0


def test_progress_counts_the_steps_that_are_taken():
    ticks = []
    one, session = user(), Scripted()
    meet(session, one, ticks.append)
    assert sum(ticks) == one.steps == sum(event[0] == "step" for event in session.events)


def test_each_user_meets_the_factory_model(tmp_path):
    """Whom the device met before makes no difference, with real learning and real states."""
    model = RandomModel(Shape((5,), hidden=(("BinaryLinear", 6),), steps=2), seed=1).write(tmp_path, vectors=False)
    generator = np.random.default_rng(0)

    def person(number):
        def part(length):
            return [Segment(generator.integers(-128, 128, (length, 5)).astype(np.int8), label) for label in (0, 1, 2)]

        return User(number, part(6), part(3), part(12))

    people = [person(number) for number in range(3)]
    with OrtSession(model) as session:
        together = [meet(session, one) for one in people]
    for one, outcome in zip(people, together, strict=True):
        with OrtSession(model) as session:
            alone = meet(session, one)
        assert_same(alone, outcome)
    assert any((outcome.before != outcome.learned).any() for outcome in together)


def assert_same(left: Outcome, right: Outcome):
    for name in ("labels", "before", "learned"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name))
    assert (left.check_fixed, left.check_learned) == (right.check_fixed, right.check_learned)
