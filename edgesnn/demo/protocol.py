"""How the demo meets a new user: calibrate on the start of each recording, check, then score the rest.

Of the frames of every recording, the first 15 % are learned from, the next 5 % decide whether the learned model is kept
(the guard), and the last 80 % are scored. All learning comes before all scoring: were a recording learned from and
scored at once, a model that repeats the last label would look perfect, since a recording holds one class.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgesnn.data.dataset import Dataset, Recording, frames
from edgesnn.errors import DataError
from edgesnn.runtime import Model, Session

LEARN_UNTIL, CHECK_UNTIL = 0.15, 0.20
Tick = Callable[[int], None]


@dataclass(frozen=True, eq=False)
class Segment:
    """Consecutive integer frames [S, ...] of one recording, all of one class."""

    x: NDArray[np.integer]
    label: int


@dataclass(frozen=True, eq=False)
class User:
    """The recordings of one unseen person, cut into the three parts of the protocol."""

    person: int
    learn: list[Segment]
    check: list[Segment]
    score: list[Segment]

    @property
    def steps(self) -> int:
        """Steps that `fixed` and `learning` take together."""
        learn, check, score = (sum(len(s.x) for s in part) for part in (self.learn, self.check, self.score))
        return learn + 2 * check + 2 * score


@dataclass(frozen=True, eq=False)
class Outcome:
    """What the device did for one user: decisions [S] of the fixed and the learned model on the scored frames.

    check_fixed, check_learned: the guard's accuracies; `kept` says whether the learned model was used.
    """

    user: User
    labels: NDArray[np.int64]
    before: NDArray[np.int64]
    learned: NDArray[np.int64]
    check_fixed: float
    check_learned: float

    @property
    def kept(self) -> bool:
        """The guard: the learned model replaces the factory model only where it is better on the check."""
        return self.check_learned > self.check_fixed

    @property
    def after(self) -> NDArray[np.int64]:
        return self.learned if self.kept else self.before

    def accuracy(self, decisions: NDArray[np.int64]) -> float:
        return float((decisions == self.labels).mean())


def _no_tick(_steps: int) -> None:
    """Progress that nobody watches."""


def users(model: Model, data: Dataset, recordings: Sequence[Recording]) -> list[User]:
    """Recordings by person, in the order of their ids, quantized for `model`.

    Raises:
        DataError: all recordings of a person are so short that nothing is left to learn from, to check or to score.
    """
    found = []
    for person in sorted({recording.person for recording in recordings if recording.person is not None}):
        parts: tuple[list[Segment], list[Segment], list[Segment]] = ([], [], [])
        for recording in (r for r in recordings if r.person == person):
            x = model.quantize(frames(recording.rows, data.stream_frame))
            cuts = [int(len(x) * share) for share in (0.0, LEARN_UNTIL, CHECK_UNTIL, 1.0)]
            for part, start, stop in zip(parts, cuts[:-1], cuts[1:], strict=True):
                part.append(Segment(x[start:stop], recording.label))
        found.append(_complete(User(person, *parts)))
    return found


def _complete(user: User) -> User:
    for name, part in (("learn from", user.learn), ("check", user.check), ("score", user.score)):
        if not any(len(segment.x) for segment in part):
            raise DataError(
                f"person {user.person}: expected recordings of which some frames are left to {name}, got none in "
                f"{len(part)} recordings; give longer ones"
            )
    return user


def meet(session: Session, user: User, tick: Tick = _no_tick) -> Outcome:
    """Run the protocol for one user on a device that starts from the factory model each time."""
    factory = session.model.pack(session.model.factory)
    session.restore(factory)
    before = _decide(session, user.score, tick)
    session.restore(factory)
    check_fixed = _checked(session, user.check, tick)
    session.restore(factory)
    _learn(session, user.learn, tick)
    check_learned = _checked(session, user.check, tick)
    session.reset()
    learned = _decide(session, user.score, tick)
    labels = np.concatenate([np.full(len(segment.x), segment.label) for segment in user.score])
    return Outcome(user, labels, before, learned, check_fixed, check_learned)


def _learn(session: Session, segments: list[Segment], tick: Tick) -> None:
    """One pass in stream order; a reset between recordings, which are not adjacent in time."""
    for segment in segments:
        session.reset()
        for x in segment.x:
            session.step(x)
            session.learn(segment.label)
        tick(len(segment.x))


def _checked(session: Session, segments: list[Segment], tick: Tick) -> float:
    right = 0
    for segment in segments:
        session.reset()
        right += sum(int(session.step(x).argmax()) == segment.label for x in segment.x)
        tick(len(segment.x))
    return right / sum(len(segment.x) for segment in segments)


def _decide(session: Session, segments: list[Segment], tick: Tick) -> NDArray[np.int64]:
    """Decisions along one endless stream: no reset between recordings."""
    decisions = []
    for segment in segments:
        decisions += [int(session.step(x).argmax()) for x in segment.x]
        tick(len(segment.x))
    return np.array(decisions)
