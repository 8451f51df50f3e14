"""The `ort` backend: ONNX Runtime on the CPU, on a workstation or a Linux board."""

from __future__ import annotations

from functools import cache
from typing import Any

import onnxruntime

from edgesnn.runtime.graph import GraphSession
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
