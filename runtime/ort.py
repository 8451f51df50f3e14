"""The `ort` backend: ONNX Runtime on the CPU, on a workstation or a Linux board."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import onnxruntime

from edgesnn.runtime.graph import NEW, GraphSession
from edgesnn.runtime.model import Array, Model


def create_session(serialized: bytes, threads: int = 1) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session that keeps integers exact; graphs of one time step are too small to gain from threads."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    # Without this, a fused DequantizeLinear + MatMul silently quantizes activations to int8.
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
    return onnxruntime.InferenceSession(serialized, options, providers=["CPUExecutionProvider"])


class OrtSession(GraphSession):
    """Runs the graphs with ONNX Runtime."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self._session = cache(lambda graph: create_session(model.graph(graph).SerializeToString()))

    def _run(self, graph: str, feeds: dict[str, Array]) -> dict[str, Array]:
        session: Any = self._session(graph)
        wanted = {entry.name: feeds[entry.name] for entry in session.get_inputs()}
        wanted |= {e.name: feeds[e.name] for e in session.get_overridable_initializers()}
        names = [entry.name for entry in session.get_outputs()]
        return dict(zip(names, session.run(names, wanted), strict=True))


def run_streams(model: Model, xs: Array) -> Array:
    """Many streams side by side from zero states: integer frames [S, N, ...] -> y int32 [S, N, K].

    The batch axis makes this the fast way to measure the integer model; each stream gets what its own session would.
    """
    session: Any = create_session(model.graph("step").SerializeToString(), threads=0)
    streams = xs.shape[1]
    values = {
        tensor.name: np.repeat(start, streams, axis=0) if tensor.kind == "state" and tensor.name != "t" else start
        for tensor, start in ((tensor, model.factory[tensor.name]) for tensor in model.tensors)
    }
    names = [entry.name for entry in session.get_outputs()]
    taken = {entry.name for entry in (*session.get_inputs(), *session.get_overridable_initializers())} - {"x"}
    result = np.empty((len(xs), streams, len(model.classes)), np.int32)
    for step, x in enumerate(xs):
        outputs = dict(zip(names, session.run(names, {"x": x} | {name: values[name] for name in taken}), strict=True))
        values |= {name.removesuffix(NEW): value for name, value in outputs.items() if name.endswith(NEW)}
        result[step] = outputs["y"]
    return result
