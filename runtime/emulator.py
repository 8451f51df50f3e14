"""One emulator process that runs a firmware, and the two named pipes that reach it.

No call here can hang: both pipes are opened so that opening never blocks, the process's standard error tells at once
when it is gone, and a reply that does not come is an error after a timeout.
"""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

from edgesnn.boards import Board, schema
from edgesnn.errors import BackendError, BoardError
from edgesnn.runtime.firmware import Firmware

_REQUESTS, _REPLIES = "requests", "replies"  # names relative to the emulator's working folder
_STDERR_KEPT = 4096


def find_emulator(board: Board) -> tuple[schema.Emulator, str]:
    """How a board is emulated, and the path of the program that does it.

    Raises:
        BoardError: the board has no emulator.
        BackendError: the emulator is not installed.
    """
    if board.emulator is None:
        way = f"use {board.emulated_by}, which has the same core" if board.emulated_by else "use an emulated board"
        raise BoardError(f"board {board.id}: expected a board with an emulator, got one of kind {board.kind}; {way}")
    program = shutil.which(board.emulator.program)
    if program is None:
        raise BackendError(
            f"board {board.id}: expected the emulator {board.emulator.program}, found none; "
            f"apt-get install {board.emulator.package}"
        )
    return board.emulator, program


def _command(program: str, emulator: schema.Emulator, firmware: Firmware, args: Sequence[str]) -> list[str]:
    """What runs a firmware with the names of both pipes on its command line."""
    elf, files = str(firmware.elf.resolve()), (_REQUESTS, _REPLIES)
    if firmware.board.kind == "linux":
        return [program, "-cpu", emulator.machine, *emulator.args, *args, elf, *files]
    words = ",".join(f"arg={word}" for word in ("firmware", *files))
    return [
        *(program, "-machine", emulator.machine, *emulator.args),
        *("-display", "none", "-monitor", "none", "-serial", "none"),
        *("-semihosting-config", f"enable=on,target=native,{words}"),
        *("-kernel", elf, *args),
    ]


class Emulator:
    """A running firmware. `call` sends bytes and waits for bytes; use it as a context manager."""

    def __init__(self, firmware: Firmware, args: Sequence[str] = (), timeout_s: float = 30.0) -> None:
        """Start the firmware's board.

        Args:
            firmware: built by `edgesnn.runtime.firmware.build`.
            args: more arguments of the emulator, e.g. a plugin.
            timeout_s: how long the firmware may be silent while a reply is due.

        Raises:
            BoardError: the board has no emulator.
            BackendError: the emulator is not installed.
        """
        emulator, program = find_emulator(firmware.board)
        self.firmware = firmware
        self.timeout_s = timeout_s
        self._stderr = b""
        self._folder: TemporaryDirectory[str] | None = TemporaryDirectory(prefix="edgesnn-")
        folder = Path(self._folder.name)
        for name in (_REQUESTS, _REPLIES):
            os.mkfifo(folder / name)
        # Read-write, so that opening does not wait for a reader and a write after the firmware's end is no SIGPIPE.
        self._requests = os.open(folder / _REQUESTS, os.O_RDWR | os.O_NONBLOCK)
        self._replies = os.open(folder / _REPLIES, os.O_RDONLY | os.O_NONBLOCK)
        command = _command(program, emulator, firmware, args)
        self._errors, stderr = os.pipe()
        os.set_blocking(self._errors, False)
        try:
            self._process = subprocess.Popen(
                command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr
            )
        finally:
            os.close(stderr)  # the emulator's copy is the only one, so that its end is the end of the pipe

    def call(self, request: bytes, reply_bytes: int) -> bytes:
        """Send a request and wait for `reply_bytes` of reply.

        Raises:
            BackendError: the firmware stopped, or did not reply in time; the session is over then.
        """
        if self._folder is None:
            raise BackendError(
                f"board {self.firmware.board.id}: expected an open session, got a closed one; open a new one"
            )
        deadline = time.monotonic() + self.timeout_s  # renewed whenever bytes arrive
        unsent, received = memoryview(request), bytearray()
        poll = select.poll()
        poll.register(self._replies, select.POLLIN)
        poll.register(self._errors, select.POLLIN)
        if unsent:
            unsent = self._send(unsent)
        if unsent:
            poll.register(self._requests, select.POLLOUT)
        while unsent or len(received) < reply_bytes:
            ready = dict(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))
            if not ready:
                raise self._failure(f"no reply within {self.timeout_s:g} s")
            if unsent and ready.get(self._requests):
                unsent = self._send(unsent)
                if not unsent:
                    poll.unregister(self._requests)
            data = self._receive(reply_bytes - len(received)) if ready.get(self._replies, 0) & select.POLLIN else b""
            if data:
                received += data
                deadline = time.monotonic() + self.timeout_s
            if not data and self._errors in ready and not self._drain():
                raise self._failure("the firmware stopped")
        return bytes(received)

    def _send(self, data: memoryview) -> memoryview:
        try:
            return data[os.write(self._requests, data) :]
        except BlockingIOError:
            return data

    def _receive(self, limit: int) -> bytes:
        try:
            return os.read(self._replies, limit)
        except BlockingIOError:
            return b""

    def _drain(self) -> bool:
        """Keep the newest of standard error; False once the process has closed it."""
        try:
            data = os.read(self._errors, 65536)
        except BlockingIOError:
            return True
        self._stderr = (self._stderr + data)[-_STDERR_KEPT:]
        return bool(data)

    def last_line(self) -> str:
        """The last line on the emulator's standard error so far, where the firmware explains itself."""
        self._drain()
        lines = self._stderr.decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "no message")

    def _failure(self, what: str) -> BackendError:
        """End the session and say what happened."""
        self._process.kill()
        self._process.wait()
        board, line = self.firmware.board.id, self.last_line()
        self.close()
        return BackendError(
            f"board {board}: expected a reply, got none: {what} ({line}); open a new session, and "
            "verify the model with the backend `native`"
        )

    def close(self, quit_request: bytes = b"") -> None:
        """End the process: politely if a quit request is given, else at once. May be called again."""
        if self._folder is None:
            return
        try:
            if quit_request:
                self._send(memoryview(quit_request))
                self._process.wait(timeout=self.timeout_s)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self._process.kill()
            self._process.wait()
            for fd in (self._requests, self._replies, self._errors):
                os.close(fd)
            self._folder.cleanup()
            self._folder = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
