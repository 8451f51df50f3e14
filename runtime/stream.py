"""Streams: sensor rows in, decisions out, in constant memory at any length (docs/streaming.md).

A row is one sample of every channel in sensor units, with a label if somebody gave one. A frame is what one time step
of the model reads: the last `length` rows flattened row-major, a new one every `hop` rows. A model without a frame
specification (an image network) reads one row as one image and is shown it for all its time steps from rest.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from edgesnn.errors import ConfigError, DataError
from edgesnn.runtime import state as state_file
from edgesnn.runtime.framing import Framer, frame_rows
from edgesnn.runtime.guard import USE, Guard, read_guard
from edgesnn.runtime.late_labels import LateRing
from edgesnn.runtime.model import Array, Model
from edgesnn.runtime.sensors import Sensors
from edgesnn.runtime.session import Session
from edgesnn.runtime.sources import Item, Label, Lost, Row, array_rows
from edgesnn.runtime.stream_clock import StreamClock, Tick

__all__ = ["Counts", "Decision", "Event", "Label", "Lost", "Policy", "Row", "adapt", "array_rows", "resume", "run"]

ON_GAP = ("reset", "hold", "continue")
Event: TypeAlias = dict[str, Any]  # one JSON object; "event" says of what


@dataclass(frozen=True, slots=True)
class Policy:
    """What a stream does where its source is not ideal.

    `on_gap`: after a gap, `reset` starts from rest, with rows of after the gap alone; `hold` keeps the states and makes
    no frame of rows from both sides; `continue` goes on as if nothing were missing. `gap_periods`: the sample periods
    from which on a hole is a gap; None: those of one frame, at least 2. `late_seconds`: how far back a `Label` may
    reach; the steps of so many seconds are kept. `stuck_seconds`: how long a channel may stay at one value; 0: as long
    as it likes. Images have no order, so that none of their pixels is ever stuck.

    Raises:
        ConfigError: an unknown policy, or a negative number.
    """

    on_gap: str = "reset"
    gap_periods: float | None = None
    late_seconds: float = 0.0
    stuck_seconds: float = 10.0

    def __post_init__(self) -> None:
        if self.on_gap not in ON_GAP:
            raise ConfigError(f"on_gap: expected one of {', '.join(ON_GAP)}, got {self.on_gap!r}; choose one of them")
        for name in ("gap_periods", "late_seconds", "stuck_seconds"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise ConfigError(f"{name}: expected 0 or more, got {value}; choose another number")

    def periods(self, model: Model) -> float:
        """Sample periods from which on a hole is a gap."""
        return max(2, frame_rows(model)[0]) if self.gap_periods is None else self.gap_periods


@dataclass(slots=True)
class Counts:
    """What happened so far. Rows lost are those of `dropped`, `garbage` and `silence`; values are of rows that came."""

    rows: int = 0
    decisions: int = 0
    labelled: int = 0  # decisions that some label was about
    correct: int = 0
    learned: int = 0  # learning steps
    spared: int = 0  # labelled steps not learned from: a channel was silent or stuck
    short: int = 0  # late labels that reached back further than the steps kept
    gaps: int = 0
    missing: int = 0  # values
    saturated: int = 0  # values
    troubles: int = 0  # times that a channel fell silent or got stuck
    lost: dict[str, int] = field(default_factory=lambda: {"dropped": 0, "garbage": 0, "silence": 0})
    guard: Guard | None = None  # of a model that learns behind one

    @property
    def accuracy(self) -> float | None:
        """Of all labelled decisions, each judged before anything was learned from it."""
        return self.correct / self.labelled if self.labelled else None


@dataclass(frozen=True, slots=True)
class Decision:
    """What one frame led to. `accuracy` is that of all labelled frames up to this one, each judged before learning."""

    step: int
    seconds: float | None  # sampling time of the frame's last row from the start of the stream; None without a rate
    decision: int
    name: str
    logits: list[int]  # units of 2^-10 nat
    label: int | None = None
    accuracy: float | None = None
    time: float | None = None  # time stamp of the frame's last row

    def as_json(self) -> dict[str, Any]:
        """The fields that are known, in order, as one JSON object."""
        return {key: value for key, value in asdict(self).items() if value is not None}


def _ignore(_event: Event) -> None:
    """Nobody asked for events."""


def run(
    session: Session,
    items: Iterable[Item],
    policy: Policy | None = None,
    on_event: Callable[[Event], object] = _ignore,
    counts: Counts | None = None,
) -> Generator[Decision, None, None]:
    """Stream rows through a session and yield a decision a frame.

    Args:
        session: a model that is running.
        items: rows, and among them labels that come late and notes of what was lost; any iterable will do.
        policy: what to do where the source is not ideal.
        on_event: takes an event, between the decisions before and after it (docs/streaming.md lists them).
        counts: kept up to date, for whoever wants to look.

    Raises:
        DataError: a row of another width, or a stream that ends before its first frame.
        ConfigError: a policy that does not fit the model.
    """
    return _Stream(session, policy or Policy(), on_event, counts or Counts(), learn=False).decisions(items)


def adapt(
    session: Session,
    items: Iterable[Item],
    state: str | Path | None = None,
    save_every: int = 0,
    warn: Callable[[str], object] = warnings.warn,
    policy: Policy | None = None,
    on_event: Callable[[Event], object] = _ignore,
    counts: Counts | None = None,
) -> Generator[Decision, None, None]:
    """Predict, then learn from the label of the frame's last row if there is one (prequential; Dawid 1984).

    A `Label` teaches the steps of its seconds that are still kept, oldest first, each once: from the states that the
    step left, with the parameters of now. Nothing is learned from a step while a channel is silent or stuck.

    Args:
        session: a model exported with learning.
        items: rows, of which some or all have labels; see `run`.
        state: file to continue from if it exists and to save to at the end, also when the stream breaks off.
            Learned parameters are continued; membranes start at rest, for the rows before are not the rows of now.
            It is checked before the first row, and no other process can adapt with it meanwhile.
        save_every: save after this many learning steps as well; 0 saves at the end alone.
        warn: takes one line where the file has a damaged slot, or nothing but a first save that was cut.
        policy: see `run`.
        on_event: see `run`.
        counts: see `run`.

    Raises:
        DataError: a row of another width, or a stream that ends before its first frame.
        ConfigError: a policy that does not fit the model.
        StateError: the state file cannot be written, is not one of this model, or another process adapts with it.
    """
    counts = counts or Counts()
    stream = _Stream(session, policy or Policy(), on_event, counts, learn=True)
    if state is None:
        yield from stream.decisions(items)
        return
    path = Path(state)
    fresh = not path.exists()
    with state_file.hold(path):
        if not fresh:
            _continue(session, path, warn)
        try:
            yield from stream.decisions(_saving(items, session, path, save_every, counts))
        finally:
            session.save(path)


def _saving(items: Iterable[Item], session: Session, path: Path, every: int, counts: Counts) -> Iterator[Item]:
    """The same items; between two of them, save if `every` more steps were learned."""
    due = counts.learned + every
    for item in items:
        yield item
        if every and counts.learned >= due:
            session.save(path)
            due = counts.learned + every


def resume(session: Session, path: str | Path) -> str | None:
    """Load what was learned; membranes start at rest, for the rows before are not the rows of now.

    Returns:
        One line where a slot of the file is damaged, else None; see `Session.load`.

    Raises:
        StateError: no valid state in it, or a state of another model.
    """
    notice = session.load(path)
    session.reset()
    return notice


def _continue(session: Session, path: Path, warn: Callable[[str], object]) -> None:
    """Load what was learned; a file in which nothing was saved so far leaves the factory model."""
    try:
        notice = resume(session, path)
    except state_file.NoStateError as error:
        notice = str(error)
    if notice:
        warn(notice)


class _Stream:
    """One stream through one session."""

    def __init__(
        self, session: Session, policy: Policy, on_event: Callable[[Event], object], counts: Counts, learn: bool
    ) -> None:
        model = session.model
        self._session, self._model, self._policy = session, model, policy
        self._tell, self._counts, self._learn = on_event, counts, learn
        periods = policy.periods(model)
        stuck_rows = math.ceil(policy.stuck_seconds * model.rate_hz) if model.frame is not None else 0
        self._framer = Framer(model)
        self._clock = StreamClock(model.rate_hz, periods)
        self._sensors = Sensors(model, periods, stuck_rows)
        self._ring = LateRing(model, policy.late_seconds, states=learn)
        self._step = 0
        self._guarded = learn and any(tensor.name == USE for tensor in model.tensors)

    def decisions(self, items: Iterable[Item]) -> Generator[Decision, None, None]:
        """What every frame led to; see `run`."""
        self._look_at_guard(None)
        for item in items:
            match item:
                case Row():
                    decision = self._row(item)
                    if decision is not None:
                        yield decision
                        self._look_at_guard(item.time)
                case Label():
                    self._late(item)
                    self._look_at_guard(item.time)
                case Lost():
                    self._lose(item)
        if not self._step:
            raise DataError(
                f"stream: expected at least {self._framer.length} rows for a first frame, got {self._counts.rows}; "
                "send more"
            )

    def _row(self, row: Row) -> Decision | None:
        checked = self._sensors.check(row.values)
        self._counts.rows += 1
        self._counts.missing += checked.missing
        self._counts.saturated += checked.saturated
        if checked.values is None:
            self._clock.lose(1)
            return None
        tick = self._clock.row(row.time)
        if tick.gap is not None:
            self._gap(tick, row.time)
        for channel, trouble in self._sensors.changes():
            self._counts.troubles += trouble != "recovered"
            self._event(trouble, row.time, channel=channel)
        frame = self._framer.push(checked.values)
        return None if frame is None else self._decide(frame, row, tick)

    def _decide(self, frame: Array, row: Row, tick: Tick) -> Decision:
        logits = _present(self._session, frame)
        winner = int(np.argmax(logits))
        if tick.seconds is not None:
            known = row.label is not None
            self._ring.push(self._session, self._step, tick.seconds, winner, known, self._sensors.healthy)
        if row.label is not None:
            self._score(winner, row.label)
            if self._may_learn(self._sensors.healthy):
                self._session.learn(row.label)
                self._counts.learned += 1
        decision = Decision(
            step=self._step,
            seconds=tick.seconds,
            decision=winner,
            name=self._model.classes[winner],
            logits=[int(value) for value in logits],
            label=row.label,
            accuracy=self._counts.accuracy,
            time=row.time,
        )
        self._step += 1
        self._counts.decisions += 1
        return decision

    def _late(self, label: Label) -> None:
        if not self._policy.late_seconds:
            raise ConfigError(
                "late labels: expected to know how many seconds to keep, got a label of the last "
                f"{label.seconds:g} s; set --late-seconds, or label each row"
            )
        if not 0 <= label.value < len(self._model.classes):
            raise DataError(f"label: expected 0 to {len(self._model.classes) - 1}, got {label.value}; repair the label")
        end = self._clock.moment(label.time)
        steps, short = self._ring.claim(end - label.seconds, end) if end is not None else ([], False)
        for past in steps:
            self._score(past.decision, label.value)
        taught = [past for past in steps if self._may_learn(past.healthy)]
        if taught:
            self._ring.learn(self._session, taught, label.value)
        self._counts.learned += len(taught)
        self._counts.short += short
        span = {"first": steps[0].step, "last": steps[-1].step} if steps else {}
        self._event(
            "label", label.time, label=label.value, label_seconds=label.seconds, steps=len(steps), **span,
            correct=sum(past.decision == label.value for past in steps), learned=len(taught), short=short,
            accuracy=self._counts.accuracy,
        )  # fmt: skip

    def _lose(self, lost: Lost) -> None:
        self._clock.lose(lost.rows)
        self._counts.lost[lost.why] += lost.rows
        self._event(lost.why, None, rows=lost.rows, total=self._counts.lost[lost.why])

    def _gap(self, tick: Tick, time: float | None) -> None:
        self._counts.gaps += 1
        if self._policy.on_gap != "continue":
            self._framer.clear()
        if self._policy.on_gap == "reset":
            self._session.reset()
        self._event("gap", time, gap_seconds=tick.gap, on_gap=self._policy.on_gap, total=self._counts.gaps)

    def _score(self, decision: int, label: int) -> None:
        self._counts.labelled += 1
        self._counts.correct += decision == label

    def _may_learn(self, healthy: bool) -> bool:
        self._counts.spared += self._learn and not healthy
        return self._learn and healthy

    def _look_at_guard(self, time: float | None) -> None:
        """Keep what the guard has seen, and tell when another model decides than before."""
        before = self._counts.guard
        now = self._counts.guard = read_guard(self._session.tensors()) if self._guarded else None
        if before is not None and now is not None and now.used != before.used:
            self._event(
                "guard", time, decides="learned" if now.used else "factory", compared=now.seen,
                factory_accuracy=now.factory_accuracy, learned_accuracy=now.learned_accuracy,
            )  # fmt: skip

    def _event(self, kind: str, time: float | None, **fields: Any) -> None:
        known = {"event": kind, "seconds": self._clock.seconds, "time": time, **fields}
        self._tell({key: value for key, value in known.items() if value is not None})


def _present(session: Session, frame: Array) -> Array:
    """Logits after one frame of a stream, or after all time steps of one image, which starts from rest."""
    if session.model.frame is not None:
        return session.step(frame)
    session.reset()
    for _ in range(session.model.time_steps - 1):
        session.step(frame)
    return session.step(frame)
