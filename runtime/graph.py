"""Sessions over the ONNX graphs themselves: persistent tensors are kept here and passed in and out of each run."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from edgesnn.errors import BackendError, DataError, EdgesnnError
from edgesnn.runtime.model import Array, Model, WindowSpec
from edgesnn.runtime.session import Session

#: Suffix of the output that carries the new value of a persistent tensor.
NEW = ".new"
#: Input of a window of any number of steps over one x: how many, int64 [1].
STEPS = "steps"
#: Characters of what a library says that are quoted.
_REASON = 200


class GraphSession(Session):
    """A session whose backend runs graphs by name; subclasses implement `_run`."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self._tensors = dict(model.factory)

    @property
    def window_spec(self) -> WindowSpec:
        """What `window` takes."""
        return self.model.window

    def window(self, xs: Array, steps: int | None = None) -> Array:
        """Advance T time steps in one call of `window.onnx`. Equals T calls of `step`, states included.

        Args:
            xs: integers [T, ...]; or, of a window exported with `constant_input`, one frame for all steps.
            steps: T, where xs is one frame (default: `model.time_steps`).

        Returns:
            int32 [T, K].

        Raises:
            DataError: a number of time steps that the window does not take, another shape or dtype.
        """
        xs, spec, taken = np.asarray(xs), self.model.input, self.window_spec
        lead = () if taken.held else (taken.steps or (len(xs) if xs.ndim else 1),)
        if xs.shape != (*lead, *spec.shape) or xs.dtype != spec.dtype:
            expected = str((*(taken.steps or "T" for _ in lead), *spec.shape)).replace("'", "")
            raise DataError(
                f"window: expected {spec.dtype} {expected}, got {xs.dtype} {xs.shape}; see `input` in the metadata"
            )
        count = (self.model.time_steps if steps is None else steps) if taken.held else len(xs)
        if not taken.takes(count) or steps not in (None, count):
            raise DataError(
                f"window: expected {'1 or more' if taken.steps is None else taken.steps} time steps, got "
                f"{count if steps is None else steps}; give as many, or export again with another window"
            )
        x = xs[None] if taken.held else xs[:, None]
        y: Array = self.evaluate("window", x, steps=count)["y"][:, 0]
        return y

    def evaluate(
        self, graph: str, x: Array | None = None, label: int | None = None, steps: int | None = None
    ) -> dict[str, Array]:
        """Every output of one run of `step`, `window` or `learn` by name; the persistent tensors take their new values.

        Args:
            graph: which one.
            x: integers [N, ...] of a step, [T, N, ...] of a window, or [N, ...] of one that holds x.
            label: of `learn`.
            steps: T, of a window that holds x.
        """
        given = {
            "x": x,
            "label": None if label is None else np.array([label], np.int32),
            STEPS: None if steps is None else np.array([steps], np.int64),
        }
        feeds = self._tensors | {name: value for name, value in given.items() if value is not None}
        try:
            outputs = self._run(graph, feeds)
        except EdgesnnError:
            raise
        except Exception as error:  # whatever the library that runs it says of a graph that is none of ours
            reason = " ".join(str(error).split())[:_REASON]
            raise BackendError(
                f"{self.model.path / graph}.onnx: expected a graph that {type(self).__name__} runs, got "
                f"{type(error).__name__}: {reason}; export again"
            ) from error
        self._tensors |= {name.removesuffix(NEW): value for name, value in outputs.items() if name.endswith(NEW)}
        return outputs

    def _step(self, x: Array) -> Array:
        y: Array = self.evaluate("step", x[None])["y"][0]
        return y

    def _learn(self, label: int) -> None:
        self.evaluate("learn", label=label)

    def _reset(self) -> None:
        self._tensors |= {t.name: np.zeros(t.shape, t.dtype) for t in self.model.tensors if t.kind == "state"}

    def _snapshot(self) -> bytes:
        return self.model.pack(self._tensors)

    def _restore(self, snapshot: bytes) -> None:
        self._tensors = self.model.unpack(snapshot)

    @abstractmethod
    def _run(self, graph: str, feeds: dict[str, Array]) -> dict[str, Array]:
        """Run `step`, `window` or `learn` with these inputs, of which it takes those it knows, and name the outputs."""
