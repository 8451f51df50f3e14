"""Streams as they come: gaps, missing and saturated values, stuck channels, lost rows, and no end."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
from toy import ToySession, make_model

from edgesnn.errors import ConfigError
from edgesnn.runtime import stream
from edgesnn.runtime.stream import Counts, Event, Label, Lost, Policy, Row

NAN = math.nan


@pytest.fixture
def session() -> ToySession:
    """Frames of three rows, one every two, 10 rows a second."""
    return ToySession(make_model({"length": 3, "hop": 2, "channels": 1}, (3,), rate_hz=10.0))


def follow(
    session: ToySession, items: list[Row | Label | Lost], policy: Policy | None = None
) -> tuple[Counts, list[Event]]:
    """Decisions and events in their order, and the counts."""
    counts, told = Counts(), list[Event]()
    for decision in stream.run(session, items, policy, told.append, counts):
        told.append(decision.as_json())
    return counts, told


def holed(hole: int) -> list[Row | Label | Lost]:
    """Rows 1 to 4, a hole, and rows 5 to 9."""
    values = list(range(1, 10))
    return [Row([float(value)], time=0.1 * (at + hole * (at >= 4))) for at, value in enumerate(values)]


@pytest.mark.parametrize(
    ("on_gap", "frames", "logit"),
    [
        ("reset", [[1, 2, 3], [5, 6, 7], [7, 8, 9]], 5 + 6 + 7),
        ("hold", [[1, 2, 3], [5, 6, 7], [7, 8, 9]], 6 + 5 + 6 + 7),
        ("continue", [[1, 2, 3], [3, 4, 5], [5, 6, 7], [7, 8, 9]], 6 + 3 + 4 + 5),
    ],
)
def test_after_a_gap_the_policy_decides_what_goes_on(
    session: ToySession, on_gap: str, frames: list[list[int]], logit: int
) -> None:
    counts, told = follow(session, holed(3), Policy(on_gap=on_gap))
    assert session.frames == frames
    [first, gap, second, *_] = told
    assert (first["event"] if "event" in first else first["step"], second["logits"][0]) == (0, logit)
    assert gap == {
        "event": "gap", "seconds": pytest.approx(0.7), "time": pytest.approx(0.7),
        "gap_seconds": pytest.approx(0.4), "on_gap": on_gap, "total": 1,
    }  # fmt: skip
    assert counts.gaps == 1


def test_a_hole_within_a_frame_is_no_gap_unless_one_says_so(session: ToySession) -> None:
    assert follow(session, holed(2))[0].gaps == 0
    assert follow(session, holed(2), Policy(gap_periods=2))[0].gaps == 1


def test_decisions_carry_the_time_of_their_last_row(session: ToySession) -> None:
    _, [decision] = follow(session, [Row([1.0], time=1e9 + at / 10) for at in range(3)])
    assert decision["time"] == 1e9 + 0.2
    assert decision["seconds"] == pytest.approx(0.2, abs=1e-6)


def test_lost_rows_are_told_counted_and_make_a_gap(session: ToySession) -> None:
    items = [*holed(0)[:4], Lost(2, "garbage"), Lost(5, "dropped"), Lost(3, "dropped"), Row([1.0])]
    bare = [Row(item.values) if isinstance(item, Row) else item for item in items]
    counts, told = follow(session, bare)
    assert [(event["event"], event.get("rows"), event["total"]) for event in told if "event" in event] == [
        ("garbage", 2, 2), ("dropped", 5, 5), ("dropped", 3, 8), ("gap", None, 1)
    ]  # fmt: skip
    assert counts.lost == {"dropped": 8, "garbage": 2, "silence": 0}
    assert told[-1]["gap_seconds"] == pytest.approx(1.1)


def test_a_row_without_values_is_a_lost_row(session: ToySession) -> None:
    empty = [Row([NAN])] * 4
    counts, told = follow(session, [*[Row([float(at)]) for at in range(3)], *empty, Row([1.0])])
    assert (counts.missing, counts.rows, counts.gaps) == (4, 8, 1)
    assert session.frames == [[0, 1, 2]]
    assert told[-1]["gap_seconds"] == pytest.approx(0.5)


def test_missing_and_saturated_values_are_counted_and_never_an_error() -> None:
    session = ToySession(make_model({"length": 1, "hop": 1, "channels": 2}, (2,), rate_hz=10.0))
    counts, _ = follow(session, [Row([1.0, 2.0]), Row([NAN, 1e6]), Row([math.inf, -1e6]), Row([4.0, 5.0])])
    assert session.frames == [[1, 2], [1, 127], [1, -128], [4, 5]]
    assert (counts.missing, counts.saturated) == (2, 2)


@pytest.mark.parametrize(("stuck_seconds", "learned", "troubles"), [(1.0, 11, 1), (0.0, 20, 0)])
def test_nothing_is_learned_while_a_channel_is_stuck(stuck_seconds: float, learned: int, troubles: int) -> None:
    session = ToySession(make_model({"length": 1, "hop": 1, "channels": 1}, (1,), rate_hz=10.0))
    items = [Row([7.0], label=1)] * 20
    counts, told = Counts(), list[Event]()
    policy = Policy(stuck_seconds=stuck_seconds)
    decisions = list(stream.adapt(session, items, policy=policy, on_event=told.append, counts=counts))
    assert (counts.learned, counts.spared, counts.troubles) == (learned, 20 - learned, troubles)
    assert len(decisions) == 20
    assert [(event["event"], event["channel"]) for event in told] == [("stuck", "0")] * troubles
    assert session.bias[1] == 1000 * learned


def test_pixels_may_be_constant() -> None:
    session = ToySession(make_model(None, (1, 2, 2), rate_hz=10.0))
    counts, told = follow(session, [Row(np.ones(4))] * 500)
    assert counts.troubles == 0
    assert not any("event" in entry for entry in told)


@pytest.mark.parametrize(
    "arguments", [{"on_gap": "jump"}, {"gap_periods": -1}, {"late_seconds": math.inf}, {"stuck_seconds": NAN}]
)
def test_a_policy_that_cannot_be_is_one_line(arguments: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=f"^{next(iter(arguments))}: expected") as caught:
        Policy(**arguments)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def endless(session: ToySession, count: int) -> Iterator[Row | Label | Lost]:
    values = np.random.default_rng(0).normal(0, 3, (64, 1))
    for at in range(count):
        session.frames.clear()  # the toy keeps what it saw
        session.bias[:] = 0
        yield Row(values[at % 64] if at % 10 else [NAN], label=at % 3 if at % 5 == 0 else None)
        if at % 97 == 0:
            yield Label(1, 0.7)
        if at % 1009 == 0:
            yield Lost(30, "dropped")


@pytest.mark.parametrize(("early", "late"), [(3_500, 6_000), pytest.param(10_000, 100_000, marks=pytest.mark.long)])
def test_memory_is_constant_however_long_the_stream(session: ToySession, early: int, late: int) -> None:
    """From some thousand rows on: Python keeps up to 2,000 used tuples of each length for use again."""
    used: dict[int, int] = {}
    counts = Counts()
    policy = Policy(late_seconds=2.0)
    decisions = stream.adapt(session, endless(session, late + 10), policy=policy, counts=counts)
    tracemalloc.start()
    try:
        for _ in decisions:
            for mark in (early, late):
                if counts.rows >= mark and mark not in used:
                    used[mark] = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert abs(used[late] - used[early]) < 4096
