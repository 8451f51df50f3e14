"""Forms of window.onnx beside each other: unrolled or of any number of steps, a frame for each step or one for all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from edgesnn.bench.cases.ort import Call, bound_call, interleaved
from edgesnn.bench.cases.tvm import compiled_call
from edgesnn.bench.registry import Measured, benchmark
from edgesnn.bench.untrained import SMALLER, WIDE, Size, build, export

_ROUNDS = 25
_NUMBERS = (4, 16)
#: The network of examples/mnist.py, which sees one image at every step.
_MNIST = SMALLER[1]
#: Form -> whether the number of steps is free, and whether x is held.
_FORMS = {
    "unrolled": (False, False),
    "dynamic": (True, False),
    "unrolled, one frame": (False, True),
    "dynamic, one frame": (True, True),
}


@benchmark(
    "window",
    "window.onnx of any number of steps against the unrolled one, and of one frame for all steps: 4 and 16 steps",
    packages=("onnx", "onnxruntime", "apache-tvm", "torch", "brevitas"),
)
def window() -> Measured:
    return measure(_MNIST, (*SMALLER[:1], WIDE, SMALLER[-1]))


def measure(
    published: Size, others: Sequence[Size] = (), numbers: Sequence[int] = _NUMBERS, rounds: int = _ROUNDS
) -> Measured:
    """`dynamic_ratio_T` is the time of any number of steps over that of the unrolled window, `one_frame_ratio_T` that
    of one frame over a frame a step, both in ONNX Runtime; `tvm_one_frame_ratio_T` the latter in TVM.
    """
    rows = [row for size in (published, *others) for row in _rows(size, numbers, rounds)]
    time = {
        (row["backend"], row["form"], row["steps"]): float(str(row["us"]))
        for row in rows
        if row["network"] == published.name
    }
    figures = {}
    for steps in numbers:
        unrolled = time["ort", "unrolled", steps]
        figures[f"dynamic_ratio_{steps}"] = round(time["ort", "dynamic", steps] / unrolled, 3)
        figures[f"one_frame_ratio_{steps}"] = round(time["ort", "unrolled, one frame", steps] / unrolled, 3)
        figures[f"tvm_one_frame_ratio_{steps}"] = round(
            time["tvm", "unrolled, one frame", steps] / time["tvm", "unrolled", steps], 3
        )
    return Measured(figures, rows)


def _rows(size: Size, numbers: Sequence[int], rounds: int) -> list[dict[str, object]]:
    return [row for steps in numbers for row in _timed(size, steps, rounds)]


def _timed(size: Size, steps: int, rounds: int) -> Iterator[dict[str, object]]:
    from edgesnn import export as exporter
    from edgesnn.runtime.ort import create_session

    net = build(size)
    with TemporaryDirectory(prefix="edgesnn-") as folder:
        calls: dict[str, Call] = {}
        for form, (free, held) in _FORMS.items():
            model = export(size, net, Path(folder) / form, "dynamic" if free else steps, constant_input=held)
            session = create_session(model.graph("window").SerializeToString())
            calls[f"ort: {form}"] = bound_call(session, steps)
            if not free:  # TVM unrolls it
                exporter.tvm(model.path)
                calls[f"tvm: {form}"] = compiled_call(model, "window")
        for name, least in interleaved(calls, rounds).items():
            backend, form = name.split(": ")
            yield {"network": size.name, "steps": steps, "backend": backend, "form": form, "us": round(least / 1e3, 1)}
