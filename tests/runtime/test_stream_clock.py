"""When rows were sampled, and where some are missing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesnn.runtime.stream_clock import StreamClock, Tick


def test_without_time_stamps_rows_are_counted() -> None:
    clock = StreamClock(50.0, 2)
    assert clock.seconds is None
    assert [clock.row(None).seconds for _ in range(4)] == [0.0, 1 / 50, 2 / 50, 3 / 50]


def test_a_lost_row_takes_its_time_and_many_make_a_gap() -> None:
    clock = StreamClock(10.0, 3)
    clock.lose(100)  # before the first row: nothing was there to lose
    assert clock.row(None) == Tick(0.0)
    clock.lose(2)
    assert clock.row(None) == Tick(0.3)
    clock.lose(2)
    clock.lose(1)
    assert clock.row(None) == Tick(0.7, pytest.approx(0.4))
    assert clock.row(None) == Tick(0.8)


def test_time_stamps_count_from_the_first_row_and_say_what_is_a_gap() -> None:
    clock = StreamClock(10.0, 2)
    stamps = [1e9, 1e9 + 0.1, 1e9 + 0.3, 1e9 + 0.51, 1e9 + 0.50, 1e9 + 0.29]
    ticks = [clock.row(stamp) for stamp in stamps]
    assert [tick.seconds for tick in ticks] == pytest.approx([0.0, 0.1, 0.3, 0.51, 0.5, 0.29], abs=1e-6)
    assert [tick.gap is not None for tick in ticks] == [False, False, False, True, False, True]
    assert ticks[5].gap == pytest.approx(-0.21, abs=1e-6)


def test_time_stamps_count_more_than_lost_rows() -> None:
    clock = StreamClock(10.0, 2)
    clock.row(5.0)
    clock.lose(1000)
    assert clock.row(5.1) == Tick(pytest.approx(0.1))


def test_a_row_without_a_time_stamp_comes_one_period_after_the_row_before() -> None:
    clock = StreamClock(10.0, 2)
    assert clock.row(None).seconds == 0.0
    assert clock.row(None).seconds == 0.1
    assert clock.row(7.2).seconds == pytest.approx(0.2)  # the first time stamp lies on the time counted so far
    assert clock.row(None).seconds == pytest.approx(0.3)
    assert clock.row(7.4).seconds == pytest.approx(0.4)


@pytest.mark.parametrize(("stamps", "seconds"), [([None, None], [None, None]), ([3.0, 900.0], [0.0, 897.0])])
def test_without_a_rate_there_are_no_gaps(stamps: list[float | None], seconds: list[float | None]) -> None:
    clock = StreamClock(0.0, 2)
    assert [clock.row(stamp) for stamp in stamps] == [Tick(at) for at in seconds]


def test_a_moment_is_in_the_seconds_of_the_stream() -> None:
    clock = StreamClock(10.0, 2)
    assert clock.moment(4.0) is None
    clock.row(None)
    clock.row(None)
    assert clock.moment(4.0) == 0.1  # no row has said what its time stamps mean
    clock.row(100.0)
    assert clock.moment(100.7) == pytest.approx(0.9)
    assert clock.moment(None) == pytest.approx(0.2)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=30), st.integers(1, 4))
def test_lost_rows_and_time_stamps_tell_the_same_gaps(holes: list[int], periods: int) -> None:
    counted, stamped, at = StreamClock(8.0, periods), StreamClock(8.0, periods), 0
    for hole in holes:
        counted.lose(hole if at else 0)
        at += 1 + (hole if at else 0)
        assert counted.row(None) == stamped.row((at - 1) / 8)
