"""A stream that teaches class means behind a guard: what is told of it, and bad input from end to end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from tiny_run import exported, movements

from edgesnn import runtime
from edgesnn.errors import StateError
from edgesnn.runtime import stream
from edgesnn.runtime.stream import Counts, Event, Row

Rows = list[Row]


def user(person: int = 4, rounds: int = 2) -> Rows:
    """A person whom the training never saw, with a label a row."""
    return [Row(row, part.label) for part in movements(person, rounds) for row in part.rows]


def adapted(rows: Iterable[Row], state: Path | None = None, backend: str = "ort") -> tuple[Counts, list[Event]]:
    counts, events = Counts(), list[Event]()
    with runtime.open(exported("means").path, backend=backend) as session:
        policy = stream.Policy(stuck_seconds=4)
        for _ in stream.adapt(session, rows, state, policy=policy, on_event=events.append, counts=counts):
            pass
    return counts, events


def test_the_model_that_decides_is_told_when_it_changes(tmp_path: Path) -> None:
    counts, events = adapted(user(), tmp_path / "s")
    assert counts.guard is not None
    assert counts.guard.used
    assert counts.guard.factory_errors > counts.guard.learned_errors
    told = [event for event in events if event["event"] == "guard"]
    assert [event["decides"] for event in told] == ["learned"]
    assert told[0]["compared"] >= 64
    assert told[0]["factory_accuracy"] < told[0]["learned_accuracy"]


def test_what_was_learned_decides_where_the_stream_goes_on(tmp_path: Path) -> None:
    before, _ = adapted(user(), tmp_path / "s")
    after, events = adapted(user()[:40], tmp_path / "s")
    assert before.guard is not None
    assert after.guard is not None
    assert (after.guard.seen > before.guard.seen, after.guard.used) == (True, True)
    assert not events  # it decided from the first row on
    with runtime.open(exported("means").path) as learned, runtime.open(exported("means").path) as factory:
        assert stream.resume(learned, tmp_path / "s") is None
        assert not any(t.any() for n, t in learned.tensors().items() if n == "readout.trace")
        accuracies = []
        for session in (learned, factory):
            counts = Counts()
            list(stream.run(session, user(), counts=counts))
            assert counts.guard is None  # nothing is learned: nothing to guard
            accuracies.append(counts.accuracy)
        assert accuracies[0] > accuracies[1]


def test_a_state_that_is_not_there_is_no_reason_to_run_without() -> None:
    with runtime.open(exported("means").path) as session, pytest.raises(StateError, match="found none"):
        stream.resume(session, "no/such.state")


def test_a_model_without_a_guard_tells_of_none() -> None:
    counts = Counts()
    with runtime.open(exported("readout").path) as session:
        list(stream.adapt(session, user()[:40], counts=counts))
    assert counts.learned
    assert counts.guard is None


def stuck(rows: Rows) -> Rows:
    return [Row(rows[0].values, row.label) for row in rows]


def nowhere(rows: Rows) -> Rows:
    return [Row(row.values * np.nan, row.label) if at >= 8 else row for at, row in enumerate(rows)]


def half_nowhere(rows: Rows) -> Rows:
    return [Row(row.values * np.array([1, np.nan]), row.label) for row in rows]


def saturated(rows: Rows) -> Rows:
    return [Row(np.copysign(1e30, row.values), row.label) for row in rows]


def one_class(rows: Rows) -> Rows:
    return [row for row in rows if row.label == 1] * 3


@pytest.mark.parametrize("spoil", [stuck, nowhere, half_nowhere, one_class])
def test_bad_input_leaves_the_decision_to_the_factory(spoil: Callable[[Rows], Rows]) -> None:
    counts, events = adapted(spoil(user()))
    assert counts.guard is not None
    assert not counts.guard.used
    assert "guard" not in [event["event"] for event in events]


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_wrong_labels_at_random_do_not_make_the_decisions_worse(share: float) -> None:
    """Judged on the rest of the same person's stream, with right labels and without learning."""
    rng = np.random.default_rng(2)
    rows = [
        Row(row.values, (row.label + int(rng.integers(1, 3))) % 3 if rng.random() < share else row.label)
        for row in user()
    ]
    with runtime.open(exported("means").path) as device, runtime.open(exported("means").path) as factory:
        list(stream.adapt(device, rows))
        accuracies = []
        for session in (device, factory):
            session.reset()
            counts = Counts()
            list(stream.run(session, user(rounds=1), counts=counts))
            accuracies.append(counts.accuracy)
    assert accuracies[0] >= accuracies[1] - 0.01


def test_saturated_rows_are_learned_from_without_harm_to_the_integers() -> None:
    counts, _ = adapted(saturated(user()))
    assert counts.saturated == 2 * counts.rows
    assert counts.guard is not None
