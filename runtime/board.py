"""The backend `board`: the generated C on an emulated board, through the harness protocol of docs/architecture.md."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgesnn import boards
from edgesnn.errors import BackendError, ModelError
from edgesnn.runtime.emulator import Emulator
from edgesnn.runtime.firmware import Firmware, build
from edgesnn.runtime.model import Array, Model
from edgesnn.runtime.package import exported_board
from edgesnn.runtime.session import Session

_STATUS = struct.Struct("<i")
_INFO = struct.Struct("<6IQ")


@dataclass(frozen=True)
class Info:
    """What the firmware says of itself (op `I`)."""

    abi: int
    arena_bytes: int
    input_bytes: int
    classes: int
    snapshot_bytes: int
    stack_used_bytes: int
    model_id: int


class Harness:
    """The protocol: one request, one reply, on an emulator that runs `boards/support/harness.c`."""

    def __init__(self, firmware: Firmware, args: Sequence[str] = (), timeout_s: float = 30.0) -> None:
        self.emulator = Emulator(firmware, args, timeout_s)
        try:
            self.about = self.info()
        except BaseException:
            self.emulator.close()
            raise

    def _request(self, operation: bytes, body: bytes = b"", reply_bytes: int = 0) -> bytes:
        status = _STATUS.unpack(self.emulator.call(operation + body, _STATUS.size))[0]
        if status != 0:
            raise BackendError(
                f"board {self.emulator.firmware.board.id}: expected status 0 of request "
                f"{operation.decode()}, got {status} ({self.emulator.last_line()}); correct the call"
            )
        return self.emulator.call(b"", reply_bytes) if reply_bytes else b""

    def info(self) -> Info:
        return Info(*_INFO.unpack(self._request(b"I", reply_bytes=_INFO.size)))

    def step(self, x: bytes) -> bytes:
        return self._request(b"S", x, 4 * self.about.classes)

    def learn(self, label: int) -> None:
        self._request(b"L", _STATUS.pack(label))

    def reset(self) -> None:
        self._request(b"R")

    def snapshot(self) -> bytes:
        return self._request(b"G", reply_bytes=self.about.snapshot_bytes)

    def restore(self, snapshot: bytes) -> None:
        self._request(b"P", snapshot)

    def close(self) -> None:
        """Let the firmware exit with status 0, then end the emulator."""
        self.emulator.close(b"Q")


def emulated(board: str) -> boards.Board:
    """The board that stands for this one where only emulators run: itself, or the one it names with the same core."""
    chosen = boards.load(board)
    return boards.load(chosen.emulated_by) if chosen.emulated_by else chosen


class BoardSession(Session):
    """A model on an emulated board: what the device will compute, instruction by instruction."""

    def __init__(self, model: Model, board: str | None = None, timeout_s: float = 30.0) -> None:
        """Build the firmware, if it changed, and boot it.

        Args:
            model: a folder that also holds the C package (`edgesnn.export.c`).
            board: a board that is emulated, or that names an emulated board with the same core (default: the one
                that the package was exported for).
            timeout_s: how long one call may take.

        Raises:
            BoardError: unknown board, or one that nothing emulates.
            BudgetError: the firmware does not fit the board.
            BackendError: ziglang or the emulator is missing, or the firmware does not boot.
            ModelError: there is no C package, or it is of another model.
        """
        super().__init__(model)
        package = model.path / "c"
        chosen = boards.load(board or exported_board(package))
        if chosen.emulated_by:
            build(package, chosen)  # linked for the part's own memory, which refuses what does not fit
        self.firmware = build(package, emulated(board or exported_board(package)))
        self._harness = Harness(self.firmware, timeout_s=timeout_s)
        about = self._harness.about
        if (about.model_id, about.snapshot_bytes) != (model.model_id, model.snapshot_bytes):
            self.close()
            raise ModelError(
                f"{model.path / 'c'}: expected C of model {model.model_id:016x}, got {about.model_id:016x}; "
                "run `edgesnn export ... --format c` again"
            )

    def info(self) -> Info:
        """What the firmware says of itself, among it how deep the stack has been."""
        return self._harness.info()

    def _step(self, x: Array) -> Array:
        return np.frombuffer(self._harness.step(x.tobytes()), "<i4").astype(np.int32)

    def _learn(self, label: int) -> None:
        self._harness.learn(label)

    def _reset(self) -> None:
        self._harness.reset()

    def _snapshot(self) -> bytes:
        return self._harness.snapshot()

    def _restore(self, snapshot: bytes) -> None:
        self._harness.restore(snapshot)

    def close(self) -> None:
        self._harness.close()
