"""One function of the library as a graph of one node, run by the reference evaluator and by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from edgesnn.export.builder import GraphBuilder

Array = NDArray[Any]

#: Every level at which ONNX Runtime folds, fuses and rewrites.
LEVELS = tuple(onnxruntime.GraphOptimizationLevel.__members__.values())


def assert_function(
    function: str,
    inputs: Mapping[str, Array],
    expected: Sequence[Array],
    dtypes: Sequence[str],
    constants: Sequence[str] = (),
    **attributes: Any,
) -> None:
    """Every backend gives exactly `expected` (in int64) with these output types; inputs named in `constants` are
    initializers, as in an exported graph, where the optimizer may fold them.
    """
    ranks = [np.ndim(wanted) for wanted in expected]
    for backend, results in run(function, inputs, dtypes, constants, ranks, **attributes):
        for result, wanted, dtype in zip(results, expected, dtypes, strict=True):
            assert result.dtype == dtype, (backend, result.dtype)
            np.testing.assert_array_equal(result, wanted, err_msg=backend, strict=False)
            assert result.shape == np.shape(wanted), (backend, result.shape, np.shape(wanted))


def run(
    function: str, inputs: Mapping[str, Array], dtypes: Sequence[str], constants: Sequence[str] = (),
    ranks: Sequence[int] | None = None, **attributes: Any,
) -> Iterator[tuple[str, list[Array]]]:  # fmt: skip
    """(backend, outputs) of one call, for the reference evaluator and for ONNX Runtime at each optimization level.

    ranks: of the outputs (default: that of the first input).
    """
    builder = GraphBuilder()
    for name, value in inputs.items():
        if name in constants:
            builder.constant(name, value)
        else:
            builder.input(name, str(value.dtype), [f"{name}{axis}" for axis in range(value.ndim)])
    outputs = [f"out{i}" for i in range(len(dtypes))]
    ranks = ranks or [next(iter(inputs.values())).ndim] * len(dtypes)
    builder.call(function, "node", list(inputs), outputs, **attributes)
    for i, (name, dtype) in enumerate(zip(outputs, dtypes, strict=True)):
        builder.output(name, dtype, [f"{name}_{axis}" for axis in range(ranks[i])])
    model = builder.build("one", {}, "one node")
    feeds = {name: value for name, value in inputs.items() if name not in constants}
    yield "reference", list(ReferenceEvaluator(model).run(None, feeds))
    for level in LEVELS:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = level
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        yield level.name, list(session.run(None, feeds))


def rows(function: Any, x: Array, *arguments: Any) -> Array:
    """A golden function of single samples over a batch."""
    return np.stack([function(sample, *arguments) for sample in x])
