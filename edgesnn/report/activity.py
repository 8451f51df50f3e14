"""How much of each layer fires: the model is run over a stream, and what passes between its layers is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from functools import cache
from itertools import islice

import numpy as np
import onnx

from edgesnn.runtime import sources, stream
from edgesnn.runtime.model import Array, Model
from edgesnn.runtime.ort import OrtSession, create_session
from edgesnn.runtime.vectors import random_stream


class ActivitySession(OrtSession):
    """ONNX Runtime, with an eye on some values of the step: the share of each that is not zero."""

    def __init__(self, model: Model, names: Iterable[str]) -> None:
        super().__init__(model)
        self._names = tuple(dict.fromkeys(names))
        self._session = cache(lambda graph: create_session(self._watched(graph).SerializeToString()))
        self._active: Counter[str] = Counter()
        self._seen: Counter[str] = Counter()
        self.frames: list[Array] = []

    def _watched(self, graph: str) -> onnx.ModelProto:
        proto = onnx.ModelProto()
        proto.CopyFrom(self.model.graph(graph))
        known = {entry.name for entry in (*proto.graph.output, *proto.graph.input)}
        proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in self._names if name not in known)
        return proto

    def _run(self, graph: str, feeds: dict[str, Array]) -> dict[str, Array]:
        outputs = super()._run(graph, feeds)
        values = feeds | outputs
        for name in self._names:
            self._active[name] += int(np.count_nonzero(values[name]))
            self._seen[name] += values[name].size
        self.frames.append(feeds["x"][0])
        return outputs

    @property
    def shares(self) -> dict[str, float]:
        """The share of each value that was not zero, over all steps so far."""
        return {name: self._active[name] / self._seen[name] for name in self._names if self._seen[name]}


def watch(model: Model, names: Iterable[str], steps: int, source: str | None = None) -> tuple[Array, dict[str, float]]:
    """Frames of a stream [S, ...], at most `steps` of them, and the share of each named value that was not zero.

    Args:
        model: what runs.
        names: values of `step.onnx`, `x` among them.
        steps: when to stop.
        source: a file of sensor rows; without one, a random stream over the whole input range.

    Raises:
        DataError, ConfigError: the source cannot be read, or gives no frame.
    """
    with ActivitySession(model, names) as session:
        if source is None:
            for frame in random_stream(model, steps, seed=3)[0]:
                session.step(frame)
        else:
            with closing(sources.open_source(source, model)) as items:
                for _ in islice(stream.run(session, items), steps):
                    pass
        return np.array(session.frames[:steps]), session.shares
