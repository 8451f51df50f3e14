"""ONNX Runtime on our graphs beside ONNX Runtime on the same networks as plain float32 ONNX, one thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesnn.bench.registry import Measured, benchmark
from edgesnn.bench.untrained import SMALLER, STEPS, VGG_SNN, WIDE, Size, build, export

Call = Callable[[], object]

#: Turns of each contender, and what one turn takes about.
_ROUNDS, _ROUND_NS = 25, 2e7


@benchmark(
    "ort",
    "ONNX Runtime on our graphs against the same networks as float32 ONNX: VGG-SNN and a wide dense net, one thread",
    packages=("onnx", "onnxruntime", "torch", "brevitas"),
)
def ort() -> Measured:
    return measure((VGG_SNN, WIDE), SMALLER)


def measure(published: Sequence[Size], smaller: Sequence[Size] = (), rounds: int = _ROUNDS) -> Measured:
    """The figures are the worst of the published networks; the rows have the smaller ones too."""
    rows = [row for size in (*published, *smaller) for row in _rows(size, rounds)]
    names = {size.name for size in published}
    figures = {
        f"{graph}_speedup": min(
            float(str(row["speedup"])) for row in rows if row["graph"] == graph and row["network"] in names
        )
        for graph in ("step", "window")
    }
    return Measured(figures, rows)


def _rows(size: Size, rounds: int) -> list[dict[str, object]]:
    from edgesnn.bench.float_graph import float_graph
    from edgesnn.runtime.ort import create_session

    net = build(size)
    rows: list[dict[str, object]] = []
    with TemporaryDirectory(prefix="edgesnn-") as folder:
        model = export(size, net, Path(folder))
        for graph, steps in (("step", 1), ("window", STEPS)):
            ours = bound_call(create_session(model.graph(graph).SerializeToString()))
            peer = bound_call(float_session(float_graph(net, steps).SerializeToString()))
            least = interleaved({"ours": ours, "float32": peer}, rounds)
            rows.append({
                "network": size.name,
                "graph": graph,
                "ours_us": round(least["ours"] / 1e3, 1),
                "float32_us": round(least["float32"] / 1e3, 1),
                "speedup": round(least["float32"] / least["ours"], 3),
            })  # fmt: skip
    return rows


def float_session(serialized: bytes) -> Any:
    """ONNX Runtime at its best for float32: all optimizations, one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    return onnxruntime.InferenceSession(serialized, options, providers=["CPUExecutionProvider"])


def bound_call(session: Any, steps: int = STEPS) -> Call:
    """Runs a session on random inputs that are bound once, a single stream; of a window of any number, these steps."""
    import onnxruntime

    binding = session.io_binding()
    rng = np.random.default_rng(1)
    for entry in session.get_inputs():
        shape = [size if isinstance(size, int) else {"T": steps}.get(size, 1) for size in entry.shape]
        value = np.array([steps]) if entry.name == "steps" else _values(rng, entry, shape)
        binding.bind_ortvalue_input(entry.name, onnxruntime.OrtValue.ortvalue_from_numpy(value))
    for entry in session.get_outputs():
        binding.bind_output(entry.name)
    return lambda: session.run_with_iobinding(binding)


def _values(rng: np.random.Generator, entry: Any, shape: list[int]) -> NDArray[Any]:
    """Frames over about half of their range, membranes of a few spikes."""
    if entry.type == "tensor(float)":
        return rng.normal(0, 1, shape).astype(np.float32)
    if entry.name == "x":
        dtype = np.dtype(np.int8 if entry.type == "tensor(int8)" else np.uint8)
        return rng.integers(0, 128, shape).astype(dtype)
    return rng.integers(-3000, 3000, shape).astype(np.int32)


def interleaved(calls: dict[str, Call], rounds: int) -> dict[str, float]:
    """Nanoseconds of processor time a call: the least of many short rounds that take turns, after a first one that does
    not count.
    """
    best = dict.fromkeys(calls, float("inf"))
    for turn in range(rounds + 1):
        for name, call in calls.items():
            repeats = 1 if turn == 0 else max(1, int(_ROUND_NS / best[name]))
            start = time.process_time_ns()
            for _ in range(repeats):
                call()
            spent = (time.process_time_ns() - start) / repeats
            best[name] = spent if turn <= 1 else min(best[name], spent)
    return best
