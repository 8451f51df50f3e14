"""Is what was learned better than the factory's model? Both decide on a labelled stream that nobody learned from."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

import onnx

from edgesnn.errors import DataError
from edgesnn.runtime import stream
from edgesnn.runtime.graph import NEW
from edgesnn.runtime.guard import USE, read_guard
from edgesnn.runtime.model import Model
from edgesnn.runtime.ort import OrtSession, create_session
from edgesnn.runtime.sources import Item

#: What the guard reads to know whether every class was labelled.
_COUNT = "means.count"


@dataclass(frozen=True)
class HeldOut:
    """Accuracies on the same labelled steps; of a model with a guard, on the steps that the guard compares.

    `snapshot` is the state to go on from, `used` whether its guard lets the learned model decide (None: no guard).
    """

    steps: int
    factory_accuracy: float
    learned_accuracy: float
    used: bool | None
    snapshot: bytes


def check(model: Model, snapshot: bytes, items: Callable[[], Iterable[Item]]) -> HeldOut:
    """Compare a learned state with the factory's model on a stream; `items` begins the stream anew.

    A model with a guard has the guard's own rule applied, with the learned model as it is: its counts, and whether it
    is used, are in the state that comes back.

    Raises:
        DataError: a stream without labels, or too short to compare on.
        StateError: the snapshot is not of this model.
    """
    if any(tensor.name == USE for tensor in model.tensors):
        return _by_guard(model, snapshot, items())
    factory, learned = (_accuracy(model, start, items()) for start in (model.pack(model.factory), snapshot))
    return HeldOut(factory.labelled, factory.accuracy or 0.0, learned.accuracy or 0.0, None, snapshot)


def _accuracy(model: Model, start: bytes, items: Iterable[Item]) -> stream.Counts:
    counts = stream.Counts()
    with OrtSession(model) as session:
        session.restore(start)
        session.reset()
        for _ in stream.run(session, items, counts=counts):
            pass
    if not counts.labelled:
        raise DataError(
            f"stream: expected rows with labels to compare on, got {counts.rows:,} without; add a column `label`"
        )
    return counts


def _by_guard(model: Model, snapshot: bytes, items: Iterable[Item]) -> HeldOut:
    with _Watching(model) as session:
        session.restore(snapshot)
        session.reset()
        for _ in stream.adapt(session, items):
            pass
        session.reset()
        guard = read_guard(session.tensors())
        if guard is None or guard.factory_accuracy is None or guard.learned_accuracy is None:
            needed = model.learn.numbers["check"] if model.learn else 0
            raise DataError(
                f"stream: expected a label that stays for {needed} steps or more, to compare on, got none; "
                "give a longer stream with a column `label`"
            )
        return HeldOut(guard.seen, guard.factory_accuracy, guard.learned_accuracy, guard.used, session.snapshot())


class _Watching(OrtSession):
    """Takes labels as the guard does, and learns nothing from them."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        graphs = {"step": model.step, "learn": _without_learning(model)}
        self._session = cache(lambda graph: create_session(graphs[graph].SerializeToString()))


def _without_learning(model: Model) -> onnx.ModelProto:
    """`learn.onnx` with the guard alone: the same nodes, without the one that learns."""
    proto = onnx.ModelProto()
    proto.CopyFrom(model.graph("learn"))
    graph = proto.graph
    (learning,) = (node for node in graph.node if node.op_type == "LearnMeans")
    gone = set(learning.output)
    graph.node.remove(learning)
    for node in graph.node:
        node.input[:] = [name.removesuffix(NEW) if name == _COUNT + NEW else name for name in node.input]
    kept = [entry for entry in graph.output if entry.name not in gone]
    del graph.output[:]
    graph.output.extend(kept)
    return proto
