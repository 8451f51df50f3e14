"""Windows of every form beside as many steps: from any states, for any batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from edgesnn.export.window import window
from edgesnn.runtime.graph import NEW
from edgesnn.runtime.model import Model
from edgesnn.runtime.ort import create_session

Array = NDArray[Any]
Values = dict[str, Array]


def arbitrary(model: Model, rng: np.random.Generator, batch: int) -> Values:
    """Persistent tensors with any values that a stream may leave behind, and the factory's parameters."""
    batched = {e.name for e in model.step.graph.input if e.type.tensor_type.shape.dim[0].HasField("dim_param")}
    values = dict(model.factory)
    cycle = next((node.attribute[0].i for node in model.step.graph.node if node.op_type == "NextStep"), 1)
    for tensor in (tensor for tensor in model.tensors if tensor.kind == "state"):
        low, high = (
            (0, 255) if tensor.dtype == "uint8" else (-128, 127) if tensor.dtype == "int8" else (-(2**23), 2**23 - 1)
        )
        if tensor.name not in batched:
            low, high = 0, cycle - 1 if tensor.name == "t" else 0
        if tensor.name == "readout.trace":
            low, high = 0, 5000
        shape = (batch, *tensor.shape[1:]) if tensor.name in batched else tensor.shape
        values[tensor.name] = rng.integers(low, high, shape, tensor.dtype, endpoint=True)
    return values


def frames(model: Model, rng: np.random.Generator, steps: int, batch: int) -> Array:
    limits = np.iinfo(model.input.dtype)
    return rng.integers(limits.min, limits.max, (steps, batch, *model.input.shape), model.input.dtype, endpoint=True)


class Runner:
    """A graph on one backend, `reference` or `ort`."""

    def __init__(self, backend: str, proto: onnx.ModelProto) -> None:
        self.inputs = [entry.name for entry in proto.graph.input]
        self.outputs = [entry.name for entry in proto.graph.output]
        ort = backend == "ort"
        self.session: Any = create_session(proto.SerializeToString()) if ort else ReferenceEvaluator(proto)

    def __call__(self, feeds: Values) -> Values:
        """Outputs by name; the graph takes what it needs of the feeds."""
        wanted = {name: feeds[name] for name in self.inputs if name in feeds}
        return dict(zip(self.outputs, self.session.run(self.outputs, wanted), strict=True))


def follow(step: Runner, start: Values, x: Array) -> Values:
    """T steps [T, N, ...]: y [T, N, K], and the states after the last by the names of the outputs."""
    values, outputs, y = dict(start), {}, []
    for frame in x:
        outputs = step(values | {"x": frame})
        y.append(outputs.pop("y"))
        values |= {name.removesuffix(NEW): value for name, value in outputs.items()}
    return outputs | {"y": np.array(y)}


def check_dynamic(
    model: Model, backends: Sequence[str], numbers: Sequence[int], *, held: bool, batch: int = 2, seed: int = 0
) -> None:
    """One window of any number of steps against as many steps, for each of these numbers, resumed from any states."""
    proto = window(model.step, None, held=held)
    onnx.checker.check_model(proto, full_check=True)
    for backend in backends:
        step, whole = Runner(backend, model.step), Runner(backend, proto)
        rng = np.random.default_rng(seed)
        for steps in numbers:
            start, x = arbitrary(model, rng, batch), frames(model, rng, 1 if held else steps, batch)
            expected = follow(step, start, np.repeat(x, steps, axis=0) if held else x)
            got = whole(start | {"x": x[0] if held else x, "steps": np.array([steps])})
            assert got.keys() == expected.keys()
            for name, value in got.items():
                assert np.array_equal(value, expected[name]), (backend, steps, name)
