"""How a device meets a new user: labels for the start of each recording, decisions scored on the rest.

Of the frames of every recording the first 20 % are labelled and learned from, in stream order, and the decisions on the
last 75 % are scored. All learning comes before all scoring: were a recording learned from and scored at once, a model
that repeats the last label would look perfect, since a recording holds one class. For scoring, the recordings follow
each other as one stream without a reset.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgesnn.data.dataset import Dataset, Recording, frames
from edgesnn.errors import DataError
from edgesnn.runtime import Model, Session
from edgesnn.runtime.guard import Guard, overruled, read_guard

LEARN_UNTIL, SCORE_FROM = 0.20, 0.25
Tick = Callable[[int], None]
Decisions = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Segment:
    """The integer frames [S, ...] of one recording, all of one class."""

    x: NDArray[np.integer]
    label: int

    @property
    def labelled(self) -> NDArray[np.integer]:
        """The frames that are learned from."""
        return self.x[: int(LEARN_UNTIL * len(self.x))]

    @property
    def first_scored(self) -> int:
        return int(SCORE_FROM * len(self.x))


@dataclass(frozen=True, eq=False)
class User:
    """The recordings of one unseen person, in stream order."""

    person: int
    recordings: list[Segment]

    @property
    def steps(self) -> int:
        """Steps that `meet` takes at most."""
        return sum(len(r.labelled) + 3 * len(r.x) for r in self.recordings)

    @property
    def labels(self) -> Decisions:
        """The classes [S] of the scored steps."""
        return np.concatenate([np.full(len(r.x) - r.first_scored, r.label) for r in self.recordings])


@dataclass(frozen=True, eq=False)
class Outcome:
    """Decisions [S] on the user's scored steps: of the factory's model, of what was learned, and of the device, which
    uses what was learned where its guard agrees (without a guard: always).
    """

    user: User
    before: Decisions
    learned: Decisions
    after: Decisions
    guard: Guard | None
    prequential: float  # share of labelled steps that the device had right before it was told

    @property
    def kept(self) -> bool:
        """Whether the device uses what it has learned."""
        return self.guard is None or self.guard.used

    def accuracy(self, decisions: Decisions) -> float:
        return float((decisions == self.user.labels).mean())


def _no_tick(_steps: int) -> None:
    """Progress that nobody watches."""


def users(model: Model, data: Dataset, recordings: Sequence[Recording]) -> list[User]:
    """Recordings by person, in the order of their ids, quantized for `model`.

    Raises:
        DataError: all recordings of a person are so short that nothing is left to learn from or to score.
    """
    found = []
    for person in sorted({recording.person for recording in recordings if recording.person is not None}):
        mine = [recording for recording in recordings if recording.person == person]
        user = User(person, [Segment(model.quantize(frames(r.rows, data.stream_frame)), r.label) for r in mine])
        if not any(len(segment.labelled) for segment in user.recordings):
            raise DataError(
                f"person {person}: expected recordings of which some frames are left to learn from, got none in "
                f"{len(mine)} recordings; give longer ones"
            )
        found.append(user)
    return found


def meet(session: Session, user: User, tick: Tick = _no_tick) -> Outcome:
    """Run the protocol for one user on a device that starts from the factory's model; `tick` is told of steps done."""
    model = session.model
    factory = model.pack(model.factory)
    session.restore(factory)
    before = decide(session, user, tick)
    session.restore(factory)
    prequential = learn(session, user, tick)
    session.reset()
    snapshot, guard = session.snapshot(), read_guard(session.tensors())
    after = learned = decide(session, user, tick)
    if guard is not None and not guard.used:
        session.restore(overruled(model, snapshot))
        learned = decide(session, user, tick)
    return Outcome(user, before, learned, after, guard, prequential)


def learn(session: Session, user: User, tick: Tick = _no_tick) -> float:
    """One pass over the labelled frames in stream order, with a reset between recordings; returns the share of them on
    which the device was right before it learned.
    """
    right = 0
    for recording in user.recordings:
        x = recording.labelled
        session.reset()
        y = session.run(x, np.full(len(x), recording.label, np.int32))
        right += int((y.argmax(axis=1) == recording.label).sum())
        tick(len(x))
    return right / sum(len(recording.labelled) for recording in user.recordings)


def decide(session: Session, user: User, tick: Tick = _no_tick) -> Decisions:
    """Decisions [S] on the scored steps, along one stream of all recordings."""
    decisions = []
    for recording in user.recordings:
        decisions.append(session.run(recording.x).argmax(axis=1)[recording.first_scored :])
        tick(len(recording.x))
    return np.concatenate(decisions)
