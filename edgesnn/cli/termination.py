"""SIGTERM as an orderly end: it may interrupt waiting, never a step, a learning step or a save."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self, TypeVar

Item = TypeVar("Item")


class Termination:
    """While the context lasts, SIGTERM ends the program with status 143 where waiting is marked as interruptible.

    A signal that comes at another moment is remembered until the next such mark, and further ones change nothing: what
    was learned is saved on the way out, and that must not be cut short either.
    """

    STATUS = 128 + signal.SIGTERM

    def __init__(self) -> None:
        self._asked = False
        self._waiting = False
        self._before: Any = None

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGTERM, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self._before)

    def each(self, items: Iterable[Item]) -> Iterator[Item]:
        """The same items; waiting for the next one may be interrupted."""
        iterator = iter(items)
        while True:
            with self.may_interrupt():
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item

    @contextmanager
    def may_interrupt(self) -> Iterator[None]:
        """Mark that SIGTERM may end the program here.

        Raises:
            SystemExit: it came, now or before.
        """
        self._waiting = True
        try:
            if self._asked:
                raise SystemExit(self.STATUS)
            yield
        finally:
            self._waiting = False

    def _handle(self, _signal: int, _frame: FrameType | None) -> None:
        again, self._asked = self._asked, True
        if self._waiting and not again:
            raise SystemExit(self.STATUS)
