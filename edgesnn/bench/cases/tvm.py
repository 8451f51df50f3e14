"""TVM beside ONNX Runtime on the same graphs, one thread; and a library for AArch64 that runs, emulated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from edgesnn.bench.cases.ort import Call, bound_call, interleaved
from edgesnn.bench.registry import Measured, benchmark
from edgesnn.bench.untrained import SMALLER, VGG_SNN, WIDE, Size, build, export
from edgesnn.errors import BackendError
from edgesnn.runtime.model import Array, Model

_ROUNDS = 25
_BOARD, _CPU = "raspberry-pi-4", "cortex-a72"
#: A small network with convolutions, which an emulated processor runs in a moment.
_EMULATED = SMALLER[1]


@benchmark(
    "tvm",
    "TVM against ONNX Runtime on our graphs: VGG-SNN and a wide dense net, one thread; AArch64 emulated",
    packages=("apache-tvm", "onnxruntime", "ziglang", "torch", "brevitas"),
)
def tvm() -> Measured:
    return measure((VGG_SNN, WIDE), SMALLER, emulated=_EMULATED)


def measure(
    published: Sequence[Size], smaller: Sequence[Size] = (), rounds: int = _ROUNDS, emulated: Size | None = None
) -> Measured:
    """The ratios are the worst of the published networks, below 1 where TVM is faster."""
    rows = [row for size in (*published, *smaller) for row in _rows(size, rounds)]
    names = {size.name for size in published}
    figures = {
        f"{graph}_ratio_to_ort": max(
            float(str(row["ratio"])) for row in rows if row["graph"] == graph and row["network"] in names
        )
        for graph in ("step", "window")
    }
    if emulated is not None:
        found = _emulated(emulated)
        rows.append({"network": emulated.name, "graph": f"step and window, {_BOARD}", "result": found})
        figures["aarch64_ran"] = float(found == "equal integers")
    return Measured(figures, rows)


def _rows(size: Size, rounds: int) -> list[dict[str, object]]:
    from edgesnn import export as exporter
    from edgesnn.runtime.ort import create_session

    rows: list[dict[str, object]] = []
    with TemporaryDirectory(prefix="edgesnn-") as folder:
        model = export(size, build(size), Path(folder))
        exporter.tvm(folder)
        for graph in ("step", "window"):
            ours = compiled_call(model, graph)
            ort = bound_call(create_session(model.graph(graph).SerializeToString()))
            least = interleaved({"tvm": ours, "ort": ort}, rounds)
            rows.append({
                "network": size.name,
                "graph": graph,
                "tvm_us": round(least["tvm"] / 1e3, 1),
                "ort_us": round(least["ort"] / 1e3, 1),
                "ratio": round(least["tvm"] / least["ort"], 3),
            })  # fmt: skip
    return rows


def compiled_call(model: Model, graph: str) -> Call:
    """Runs a compiled graph on random inputs."""
    import tvm as compiler

    library = compiler.runtime.load_module(str(model.path / "tvm" / f"{graph}.so"))
    main = compiler.runtime.vm.VirtualMachine(library, compiler.cpu())["main"]
    tensors = [compiler.runtime.tensor(value) for value in _inputs(model, graph).values()]
    return lambda: main(*tensors)


def _inputs(model: Model, graph: str) -> dict[str, Array]:
    """Random frames, and the state after some of them, by name in the order of the graph's inputs."""
    from edgesnn.runtime.reference import ReferenceSession
    from edgesnn.runtime.vectors import random_stream

    frames, _ = random_stream(model, model.time_steps + 1, 1)
    with ReferenceSession(model) as reference:
        reference.step(frames[0])
        values = reference.tensors()
    values["x"] = frames[1:2] if graph == "step" or model.window.held else frames[1:, None]
    return {entry.name: np.ascontiguousarray(values[entry.name]) for entry in model.graph(graph).graph.input}


def _emulated(size: Size) -> str:
    """Whether step and window of AArch64 give the reference's integers; else what was missing or different."""
    from onnx.reference import ReferenceEvaluator

    from edgesnn import export as exporter
    from edgesnn.bench import aarch64

    with TemporaryDirectory(prefix="edgesnn-") as name:
        folder = Path(name)
        model = export(size, build(size), folder / "model")
        exporter.tvm(model.path, target=_BOARD)
        try:
            program = aarch64.prepare(folder)
        except BackendError as error:
            return f"not run: {error}"
        for graph in ("step", "window"):
            inputs = _inputs(model, graph)
            outputs = aarch64.run(program, model.path / "tvm" / f"{graph}.so", list(inputs.values()), folder, _CPU)
            expected = ReferenceEvaluator(model.graph(graph)).run(None, inputs)
            if not all(map(np.array_equal, outputs, expected)):
                return f"{graph}: other integers"
    return "equal integers"
