"""A queue that drops the oldest half when it is full, and counts what it dropped."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event

import pytest

from edgesnn.errors import ConfigError, DataError
from edgesnn.runtime.sources import Item, Label, LiveQueue, Lost, Row


def numbered(count: int) -> list[Row]:
    return [Row([float(at)]) for at in range(count)]


class Gate:
    """A source read to its end before anything is taken from the queue."""

    def __init__(self, items: list[Item], error: Exception | None = None) -> None:
        self._items, self._error = items, error
        self.done = Event()

    def __iter__(self) -> Iterator[Item]:
        yield from self._items
        self.done.set()
        if self._error:
            raise self._error


def taken(items: list[Item], capacity: int) -> list[Item]:
    gate = Gate(items)
    with LiveQueue(gate, capacity) as queue:
        assert gate.done.wait(10)
        return list(queue)


def test_what_fits_is_not_dropped() -> None:
    assert taken([*numbered(8)], 8) == numbered(8)


def test_the_oldest_half_goes_at_once_and_a_note_stands_in_its_place() -> None:
    assert taken([*numbered(9)], 8) == [Lost(4, "dropped"), *numbered(9)[4:]]


@pytest.mark.parametrize("capacity", [2, 3, 8, 11])
@pytest.mark.parametrize("count", [50, 333])
def test_every_row_is_taken_or_counted_and_the_queue_stays_bounded(capacity: int, count: int) -> None:
    lost, *rows = taken([*numbered(count)], capacity)
    assert isinstance(lost, Lost)
    assert len(rows) <= capacity
    assert rows == numbered(count)[lost.rows :]


def test_notes_of_other_losses_keep_their_count() -> None:
    items: list[Item] = [Lost(7, "garbage"), *numbered(3), Label(1, 2.0), *numbered(30)]
    found = taken(items, 8)
    assert sum(item.rows for item in found if isinstance(item, Lost) and item.why == "garbage") == 7
    dropped = sum(item.rows for item in found if isinstance(item, Lost) and item.why == "dropped")
    assert dropped + sum(isinstance(item, Row) for item in found) == 33


def test_an_error_of_the_source_comes_after_what_came_before_it() -> None:
    with LiveQueue(Gate([*numbered(3)], DataError("gone")), 8) as queue:
        assert [next(queue) for _ in range(3)] == numbered(3)
        with pytest.raises(DataError, match="gone"):
            next(queue)


def test_a_silence_is_the_rows_that_were_due() -> None:
    seconds = iter([100.0, 100.1, 103.1, 103.2])
    with LiveQueue(numbered(4), 8, rate_hz=10.0, silence=1.0, clock=lambda: next(seconds)) as queue:
        first, second, lost, third, fourth = queue
    assert [first, second, third, fourth] == numbered(4)
    assert isinstance(lost, Lost)
    assert lost.why == "silence"
    assert lost.rows in (29, 30)


def test_closing_ends_the_source() -> None:
    stop = Event()

    def source() -> Iterator[Row]:
        yield Row([0.0])
        stop.wait(10)

    queue = LiveQueue(source(), 8, close=stop.set)
    next(queue)
    queue.close()
    assert list(queue) == []


def test_a_queue_without_room_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 2 rows"):
        LiveQueue([], 1)
