"""Real files whose disk loses its power after a given number of bytes."""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from unittest.mock import patch


class PowerCutError(Exception):
    """Not an OSError, so that nothing can mistake it for a full disk."""


class Disk:
    """While this context lasts, files take `power` bytes of writing, a change of size counting as one; then the power
    is gone, and what was being written raises PowerCutError.

    `events` is what reached the disk: ("write", offset, bytes), ("size", bytes), ("sync",), ("sync folder",).

    Args:
        power: bytes until the cut; None is for ever.
    """

    def __init__(self, power: int | None = None) -> None:
        self.power = power
        self.events: list[tuple[Any, ...]] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        opened = Path.open

        def open_on_disk(path: Path, mode: str = "r", *arguments: Any, **options: Any) -> Any:
            if mode in ("r", "rb"):
                return opened(path, mode, *arguments, **options)
            return _File(self, opened(path, mode, buffering=0))

        self._stack.enter_context(patch.object(Path, "open", open_on_disk))
        self._stack.enter_context(patch.object(os, "fsync", self._sync))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def take(self, wanted: int) -> int:
        """How many of the bytes still reach the disk."""
        given = wanted if self.power is None else min(wanted, self.power)
        if self.power is not None:
            self.power -= given
        return given

    def _sync(self, descriptor: int) -> None:
        folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        self.events.append(("sync folder",) if folder else ("sync",))


class _File:
    def __init__(self, disk: Disk, raw: Any) -> None:
        self.disk, self.raw = disk, raw

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.raw.close()

    def write(self, data: bytes) -> int:
        given = self.disk.take(len(data))
        self.disk.events.append(("write", self.raw.tell(), data[:given]))
        self.raw.write(data[:given])
        if given < len(data):
            raise PowerCutError
        return given

    def truncate(self, size: int) -> None:
        if not self.disk.take(1):
            raise PowerCutError
        self.disk.events.append(("size", size))
        self.raw.truncate(size)

    def __getattr__(self, name: str) -> Any:  # seek, flush, fileno, ...
        return getattr(self.raw, name)
