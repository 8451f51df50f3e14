"""Labels that come after their steps: a ring of what the last steps left, so that they can still be learned from.

Learning reads the *trace* a step left behind, not its input; so a ring of traces is enough, and nothing is run again.
What learning itself writes is never put back, not even its states: how long one label has lasted counts on from label
to label, whenever they come.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgesnn.errors import ConfigError
from edgesnn.runtime.framing import frame_rows
from edgesnn.runtime.graph import NEW
from edgesnn.runtime.model import Array, Model, PersistentTensor
from edgesnn.runtime.session import Session


@dataclass(frozen=True, slots=True)
class PastStep:
    """One step that a ring holds: its number, where it lies, what was decided, and whether it may be learned from."""

    step: int
    at: int
    decision: int
    healthy: bool


def left_to_learn(model: Model) -> tuple[PersistentTensor, ...]:
    """The states that a learning step reads and does not write: what a step leaves for a label that comes later."""
    if model.learn is None:
        return ()
    graph = model.graph("learn").graph
    read, written = ({entry.name for entry in entries} for entries in (graph.input, graph.output))
    return tuple(
        tensor
        for tensor in model.tensors
        if tensor.kind == "state" and tensor.name in read and tensor.name + NEW not in written
    )


class LateRing:
    """The last steps of a stream, as many as fit in `seconds`, in memory that is taken at once.

    Args:
        model: its rate, its hop, and what a learning step reads of the step before it (`left_to_learn`).
        seconds: how far a label may reach back; 0 keeps nothing.
        states: keep the latter too, which learning needs and scoring does not.

    Raises:
        ConfigError: `seconds` of a model without a sample rate, or more than fit the memory.
    """

    def __init__(self, model: Model, seconds: float, states: bool) -> None:
        if seconds and not model.rate_hz:
            raise ConfigError(
                f"late labels: expected a model with a sample rate, got {model.name} without; "
                "train it with a rate, or label rows"
            )
        _, hop = frame_rows(model)
        self._half_period = 0.5 / model.rate_hz if seconds else 0.0
        kept = left_to_learn(model) if states and seconds else ()
        #: Where the bytes that a step leaves lie in a snapshot.
        self._places = np.array([at for t in kept for at in range(t.offset, t.offset + t.nbytes)], np.intp)
        step_bytes = len(self._places)
        try:
            capacity = math.ceil(seconds * model.rate_hz / hop)
            self._states = np.zeros((capacity, step_bytes), np.uint8)
            self._seconds = np.zeros(capacity)
            self._steps = np.full(capacity, -1, np.int64)  # -1: nothing there so far
            self._decisions = np.zeros(capacity, np.int32)
            self._open = np.zeros(capacity, np.bool_)  # no label so far
            self._healthy = np.zeros(capacity, np.bool_)
        except (MemoryError, OverflowError, ValueError):
            raise ConfigError(
                f"late labels: expected steps of {step_bytes:,} bytes that fit the memory, got those of {seconds:g} "
                "seconds; keep fewer seconds"
            ) from None
        self._next = 0
        self._latest_gone = -math.inf  # seconds of the latest step let go without a label

    def __len__(self) -> int:
        return len(self._steps)

    @property
    def nbytes(self) -> int:
        """Bytes that the ring takes, whatever it holds."""
        parts = (self._states, self._seconds, self._steps, self._decisions, self._open, self._healthy)
        return sum(part.nbytes for part in parts)

    def push(self, session: Session, step: int, seconds: float, decision: int, labelled: bool, healthy: bool) -> None:
        """Keep the step just made, in place of the oldest."""
        if not len(self):
            return
        at = self._next
        self._next = (at + 1) % len(self)
        if self._open[at]:
            self._latest_gone = max(self._latest_gone, self._seconds[at])
        if len(self._places):
            self._states[at] = self._cut(session.snapshot())
        self._seconds[at], self._steps[at], self._decisions[at] = seconds, step, decision
        self._open[at], self._healthy[at] = not labelled, healthy

    def claim(self, start: float, end: float) -> tuple[list[PastStep], bool]:
        """The steps after `start` up to `end` that no label named so far, oldest first, which one names now; and
        whether the label reaches back beyond what the ring holds.
        """
        start, end = start + self._half_period, end + self._half_period  # edges are samples: not left to rounding
        inside = self._open & (self._seconds > start) & (self._seconds <= end)
        found = np.flatnonzero(inside)
        found = found[np.argsort(self._steps[found])]
        self._open[found] = False
        steps = [
            PastStep(int(self._steps[at]), int(at), int(self._decisions[at]), bool(self._healthy[at])) for at in found
        ]
        return steps, bool(start < self._latest_gone <= end)

    def learn(self, session: Session, steps: list[PastStep], label: int) -> None:
        """Learn `label` from each of the steps in turn: from the trace it left, with the parameters of now.

        The trace of now is as before afterwards, so that the stream goes on as though nothing had been.
        """
        now = session.snapshot()
        present = self._cut(now)
        for past in steps:
            session.restore(self._graft(now, self._states[past.at]))
            session.learn(label)
            now = session.snapshot()
        session.restore(self._graft(now, present))

    def _cut(self, snapshot: bytes) -> Array:
        return np.frombuffer(snapshot, np.uint8)[self._places]

    def _graft(self, snapshot: bytes, states: Array) -> bytes:
        raw = np.frombuffer(snapshot, np.uint8).copy()
        raw[self._places] = states
        return raw.tobytes()
