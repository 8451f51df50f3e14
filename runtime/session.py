"""One interface over every backend: `step`, `learn`, `reset`, `save`, `load`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from edgesnn.errors import DataError, ModelError
from edgesnn.runtime import state
from edgesnn.runtime.model import Array, Model


class Session(ABC):
    """A model that is running: it owns the persistent tensors and changes them by `step` and `learn`.

    Every backend gives the same integers for the same calls. Use it as a context manager.
    """

    def __init__(self, model: Model) -> None:
        self.model = model

    def step(self, x: Array) -> Array:
        """Advance one time step.

        Args:
            x: one frame of shape `model.input.shape`: integers of `model.input.dtype`, or floats in sensor units,
                which are quantized first.

        Returns:
            int32 [K], the leaky readout in units of 2^-10 nat; the decision is its argmax.

        Raises:
            DataError: a wrong shape or dtype, or numbers that are not finite.
        """
        x = np.asarray(x)
        spec = self.model.input
        if x.dtype.kind == "f":
            x = self.model.quantize(x)
        if x.shape != spec.shape or x.dtype != spec.dtype:
            raise DataError(
                f"frame: expected {spec.dtype} {spec.shape}, or floats in sensor units, "
                f"got {x.dtype} {x.shape}; see `input` in the metadata"
            )
        return self._step(np.ascontiguousarray(x))

    def learn(self, label: int) -> None:
        """Learn from the most recent step that its class was `label` (an index into `model.classes`).

        Raises:
            ModelError: the model was exported without learning.
            DataError: the label is out of range, or no integer.
        """
        if self.model.learn is None:
            raise ModelError(
                f"{self.model.path}: expected a model that learns, got one exported without; "
                "export again with --learn readout"
            )
        if not isinstance(label, int | np.integer) or not 0 <= label < len(self.model.classes):
            raise DataError(
                f"label: expected 0 to {len(self.model.classes) - 1}, got {label!r}; "
                f"classes are {', '.join(self.model.classes)}"
            )
        self._learn(int(label))

    def run(self, frames: Array, labels: Array | None = None, resets: Array | None = None) -> Array:
        """Many steps: `reset`, `step` and `learn` one by one, or faster where a backend can.

        Args:
            frames: [S, *input.shape] in the input dtype.
            labels: int [S]: what is learned after each step; negative is nothing. None: nothing is learned.
            resets: bool [S]: whether the state is reset before a step. None: never.

        Returns:
            int32 [S, K], the logits of every step.

        Raises:
            DataError: a wrong shape or dtype, or a label that is no class.
            ModelError: a label for a model that was exported without learning.
        """
        y = np.empty((len(frames), len(self.model.classes)), np.int32)
        for t, frame in enumerate(frames):
            if resets is not None and resets[t]:
                self.reset()
            y[t] = self.step(frame)
            if labels is not None and labels[t] >= 0:
                self.learn(int(labels[t]))
        return y

    def reset(self) -> None:
        """Set every state (membranes, readout, time index) to zero; learned parameters stay."""
        self._reset()

    def snapshot(self) -> bytes:
        """The persistent tensors as bytes; equal on every backend after equal calls."""
        return self._snapshot()

    def restore(self, snapshot: bytes) -> None:
        """Continue from a snapshot of any backend.

        Raises:
            StateError: the snapshot is not of this model.
        """
        self.model.unpack(snapshot)
        self._restore(snapshot)

    def tensors(self) -> dict[str, Array]:
        """The persistent tensors by name, single-stream shapes."""
        return self.model.unpack(self._snapshot())

    def save(self, path: str | Path) -> None:
        """Write the state to a two-slot file; a cut at any byte leaves the older state usable.

        Raises:
            StateError: the file belongs to another model, or is not a state file.
        """
        state.save(Path(path), self.model.model_id, self._snapshot())

    def load(self, path: str | Path) -> str | None:
        """Continue from a state file.

        Returns:
            One line where a slot of the file is damaged and the other was taken, which may be the older; else None.

        Raises:
            StateError: no valid state in it, or a state of another model.
        """
        loaded = state.load(Path(path), self.model.model_id, self.model.snapshot_bytes)
        self.restore(loaded.payload)
        return loaded.notice

    def close(self) -> None:  # noqa: B027 - most backends hold nothing
        """Release what the backend holds; a closed session must not be used."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def _step(self, x: Array) -> Array: ...

    @abstractmethod
    def _learn(self, label: int) -> None: ...

    @abstractmethod
    def _reset(self) -> None: ...

    @abstractmethod
    def _snapshot(self) -> bytes: ...

    @abstractmethod
    def _restore(self, snapshot: bytes) -> None: ...
