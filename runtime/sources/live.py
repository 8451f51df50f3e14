"""A source that does not wait: it is read in a thread of its own, into a queue that drops the oldest when full."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from threading import Condition, Thread
from typing import Self

from edgesnn.errors import ConfigError
from edgesnn.runtime.sources.items import Item, Lost, Reason, Row


class LiveQueue(Iterator[Item]):
    """The items of a live source, at most `capacity` of them waiting.

    When the queue is full, its oldest half is dropped at once and a `Lost` stands in its place: one long hole costs the
    frames around one hole, while dropping row by row would leave no whole frame at all. Where `silence` seconds pass
    without an item, a `Lost` says how many rows were due meanwhile.

    Args:
        items: the source; only the thread of the queue touches it.
        capacity: items that may wait, at least 2.
        rate_hz: rows a second that are due; 0: not known, and silence is not told.
        silence: seconds between two items that are more than jitter.
        close: ends the source, so that the thread can end.
        clock: seconds that never go back.

    Raises:
        ConfigError: a capacity below 2.
        Exception: while iterating, what the source raised, after all that came before it.
    """

    def __init__(
        self,
        items: Iterable[Item],
        capacity: int,
        rate_hz: float = 0.0,
        silence: float = 1.0,
        close: Callable[[], object] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if capacity < 2:
            raise ConfigError(f"queue: expected room for at least 2 rows, got {capacity}; give it more seconds")
        self._capacity, self._rate_hz, self._silence = capacity, rate_hz, silence
        self._close, self._clock = close, clock
        self._waiting: deque[Item] = deque()
        self._changed = Condition()
        self._ended = False
        self._error: BaseException | None = None
        self._thread = Thread(target=self._read, args=(items,), daemon=True, name="edgesnn live source")
        self._thread.start()

    def __next__(self) -> Item:
        with self._changed:
            while not self._waiting:
                if self._error is not None:
                    raise self._error
                if self._ended:
                    raise StopIteration
                self._changed.wait()
            return self._waiting.popleft()

    def close(self) -> None:
        """End the source and wait for the thread, which a source that cannot be interrupted may outlive."""
        self._close()
        self._thread.join(timeout=2)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self, items: Iterable[Item]) -> None:
        error: BaseException | None = None
        last: float | None = None
        try:
            for item in items:
                now = self._clock()
                if last is not None and now - last > self._silence and self._rate_hz:
                    self._put(Lost(int((now - last) * self._rate_hz), "silence"))
                self._put(item)
                last = now
        except BaseException as caught:  # raised again where the items are taken
            error = caught
        with self._changed:
            self._error, self._ended = error, True
            self._changed.notify_all()

    def _put(self, item: Item) -> None:
        with self._changed:
            if len(self._waiting) >= self._capacity:
                self._drop_oldest_half()
            self._waiting.append(item)
            self._changed.notify_all()

    def _drop_oldest_half(self) -> None:
        lost: Counter[Reason] = Counter()
        for _ in range(len(self._waiting) - self._capacity // 2):
            item = self._waiting.popleft()
            if isinstance(item, Lost):
                lost[item.why] += item.rows
            elif isinstance(item, Row):
                lost["dropped"] += 1
        self._waiting.extendleft(Lost(rows, why) for why, rows in reversed(lost.items()))
