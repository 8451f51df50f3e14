"""The `ort` backend: ONNX Runtime on the CPU, on a workstation or a Linux board."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import onnx
import onnxruntime

from edgesnn.runtime.graph import NEW, STEPS, GraphSession
from edgesnn.runtime.model import Array, Model
from edgesnn.runtime.ort_rewrite import rewrite

#: Levels of ONNX Runtime's own optimizations; the integers are the same at each.
LEVELS = {
    "disable": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}


def create_session(serialized: bytes, threads: int = 1, level: str = "all") -> onnxruntime.InferenceSession:
    """An ONNX Runtime session that keeps integers exact, over the rewritten graph.

    Graphs of one time step are too small to gain from threads; 0 takes all cores. `level` is one of `LEVELS`.
    """
    return open_as_is(_with_own_weights(rewrite(onnx.load_model_from_string(serialized))), threads, level)


def open_as_is(proto: onnx.ModelProto, threads: int = 1, level: str = "all") -> onnxruntime.InferenceSession:
    """A session over the nodes that the graph has."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, LEVELS[level])
    # Without the first, a fused DequantizeLinear + MatMul silently quantizes activations to int8; without the second,
    # products of uint8 and int8 saturate on x86 without VNNI. The third keeps pairs of QuantizeLinear and
    # DequantizeLinear, which round here on purpose.
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
    options.add_session_config_entry("session.x64quantprecision", "1")
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    return onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _with_own_weights(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The graph, in place, with a copy of the weights for each product of an unrolled synapse.

    What `x64quantprecision` puts in the place of weights has a name of their own, so that ONNX Runtime 1.31 does not
    open a graph in which two products share them ("Attempt to replace the existing tensor").
    """
    initial = {value.name: value for value in proto.graph.initializer}
    uses: Counter[str] = Counter()
    for node in proto.graph.node:
        if node.op_type == "MatMulInteger" and (name := node.input[1]) in initial:
            uses[name] += 1
            if uses[name] > 1:
                node.input[1] = f"{name}.{uses[name]}"
                proto.graph.initializer.add().CopyFrom(initial[name])
                proto.graph.initializer[-1].name = node.input[1]
    return proto


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
    y = np.array([outputs["y"] for outputs in stream_outputs(model, xs)], np.int32)
    return y.reshape(len(xs), xs.shape[1], len(model.classes))


def run_still(model: Model, x: Array, steps: int) -> Array:
    """As `run_streams` of frames [N, ...] that stand still for `steps` steps: y int32 [T, N, K], in one window.

    The model's window takes one frame for all of them (`export.onnx(..., constant_input=True)`), so that what reads the
    frame alone runs once.
    """
    session: Any = create_session(model.graph("window").SerializeToString(), threads=0)
    feeds = _starts(model, session, len(x)) | {"x": x, STEPS: np.array([steps])}
    y: Array = session.run(["y"], {entry.name: feeds[entry.name] for entry in session.get_inputs()})[0]
    return y


def stream_outputs(model: Model, xs: Array) -> Iterator[dict[str, Array]]:
    """Every output of the step graph by name, step by step, of the same streams."""
    session: Any = create_session(model.graph("step").SerializeToString(), threads=0)
    values = _starts(model, session, xs.shape[1])
    names = [entry.name for entry in session.get_outputs()]
    taken = {entry.name for entry in (*session.get_inputs(), *session.get_overridable_initializers())} - {"x"}
    for x in xs:
        outputs = dict(zip(names, session.run(names, {"x": x} | {name: values[name] for name in taken}), strict=True))
        values |= {name.removesuffix(NEW): value for name, value in outputs.items() if name.endswith(NEW)}
        yield outputs


def _starts(model: Model, session: Any, streams: int) -> dict[str, Array]:
    """The factory's persistent tensors, states for as many streams."""
    batched = {entry.name for entry in session.get_inputs() if isinstance(entry.shape[0], str)}
    return {
        name: np.repeat(start, streams, axis=0) if name in batched else start for name, start in model.factory.items()
    }
