"""Speed of synapses with few bits on this machine beside ONNX Runtime on the same layers, one thread."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from importlib.resources import as_file, files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesnn.bench.layer_shape import LayerShape
from edgesnn.bench.registry import Measured, benchmark

Array = NDArray[Any]
Call = Callable[[], object]

#: What is written between two calls for cold caches, and rounds of each kind; a round of hot calls takes about as long
#: as so many multiply-accumulates.
_CACHE_BYTES, _HOT_ROUNDS, _COLD_ROUNDS, _ROUND_MACS = 2**26, 40, 12, 3e7
#: Share of binary spikes that are 1.
_ACTIVITY = 0.13
#: Constants of rescale and neuron, which turn sums into bytes as QLinearConv does.
_SHIFT, _THETA, _K, _BITS = 33, 0, 4, 8


#: The first of each kind are the layers of the bench `kernels`.
_LAYERS = {
    "dense": (LayerShape((256,), 128), LayerShape((1024,), 1024), LayerShape((4096,), 1024)),
    "conv": (LayerShape((32, 16, 16), 32), LayerShape((64, 28, 28), 64), LayerShape((128, 14, 14), 128)),
}


@benchmark(
    "host-kernels",
    "1-bit synapses on this machine against ONNX Runtime float32 and int8, one thread, worst of layers and caches",
    packages=("onnx", "onnxruntime", "numpy"),
)
def host_kernels() -> Measured:
    rows = []
    with TemporaryDirectory() as folder:
        library = _compile(Path(folder))
        for kind, layers in _LAYERS.items():
            for layer in layers:
                calls = _calls(layer, library)
                for caches, nanoseconds in (("hot", _hot(calls, layer)), ("cold", _cold(calls))):
                    speed = {f"{name}_gmacs": round(layer.macs / ns, 2) for name, ns in nanoseconds.items()}
                    shape = "x".join(map(str, layer.inputs))
                    rows.append({"kind": kind, "layer": f"{shape} to {layer.outputs}", "caches": caches, **speed})
    figures = {}
    for kind in _LAYERS:
        own = [row for row in rows if row["kind"] == kind]
        figures[f"{kind}_speedup"] = _worst(own, "w1", "float32")
        figures[f"{kind}_vs_int8"] = _worst(own, "w1", "int8")
    figures["conv_to_bytes_vs_int8"] = _worst([row for row in rows if row["kind"] == "conv"], "w1_to_bytes", "int8")
    return Measured(figures, rows)


def _worst(rows: list[dict[str, Any]], ours: str, theirs: str) -> float:
    return round(min(float(row[f"{ours}_gmacs"] / row[f"{theirs}_gmacs"]) for row in rows), 3)


def _compile(folder: Path) -> ctypes.CDLL:
    from edgesnn.runtime.build import shared_library

    with as_file(files("edgesnn.runtime") / "c") as c, as_file(files("edgesnn.bench") / "conv_to_bytes.c") as layer:
        sources = [*sorted((c / "src").glob("*.c")), layer]
        return ctypes.CDLL(str(shared_library("kernels", sources, [c / "include", c / "src"], folder)))


def _calls(layer: LayerShape, library: ctypes.CDLL) -> dict[str, Call]:
    """One call of the layer by each contender, of the synapse alone.

    w1 to w4 are weights of so many bits on uint8, s1_w2 to s1_w8 on binary spikes; `w1_to_bytes` adds rescale and a
    parallel EM-PF neuron.
    """
    rng = np.random.default_rng(0)
    x = rng.integers(0, 16, (1, *layer.inputs)).astype(np.uint8)
    w = rng.choice(np.array([-1, 1], np.int8), layer.weight_shape)
    calls = {
        "float32": _peer(layer, x.astype(np.float32), w.astype(np.float32)),
        "int8": _peer(layer, x, w),
        **_own(layer, library, x, w),
    }
    spikes = (rng.random(x.shape) < _ACTIVITY).astype(np.uint8)
    for bits in (2, 4, 8):
        weights = rng.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), layer.weight_shape).astype(np.int8)
        if bits < 8:
            calls[f"w{bits}"] = _packed(layer, library, x, weights, bits)
        calls[f"s1_w{bits}"] = _event(layer, library, spikes, weights, bits)
    return calls


def _own(layer: LayerShape, library: ctypes.CDLL, x: Array, w: Array) -> dict[str, Call]:
    """The C kernels for signs w: the sums, and of a convolution what rescale and neurons make of them, in one call."""
    outputs = layer.outputs
    bits = np.packbits(w.reshape(outputs, -1) > 0, axis=1, bitorder="little")
    a = np.empty(layer.output_shape, np.int32)
    calls = {"w1": _synapse(layer, library, "binary_{}", [x, bits], a, format_of_x=True)}
    if len(layer.inputs) == 3:
        spikes, multiplier = np.empty(layer.output_shape, np.uint8), np.full(outputs, 2**30, np.int32)
        operands = (x, bits, _scratch(layer), a, spikes, multiplier, np.zeros(outputs, np.int32), _window(layer))
        arguments = (*map(_at, operands), _SHIFT, _THETA, _K, _BITS)
        calls["w1_to_bytes"] = _call(library.edgesnn_bench_conv_to_bytes, arguments, operands)
    return calls


def _packed(layer: LayerShape, library: ctypes.CDLL, x: Array, w: Array, bits: int) -> Call:
    """Weights of 2 or 4 bits, as an exported package stores them."""
    from edgesnn.export.c_kernels import packed_rows

    rows = packed_rows(w.reshape(layer.outputs, -1), bits)
    a = np.empty(layer.output_shape, np.int32)
    return _synapse(layer, library, "packed_{}", [x, rows], a, format_of_x=True, bits=bits)


def _event(layer: LayerShape, library: ctypes.CDLL, spikes: Array, w: Array, bits: int) -> Call:
    """The same, or int8 weights, on binary spikes."""
    from edgesnn.export.c_kernels import event_rows, packed_rows

    a = np.empty(layer.output_shape, np.int32)
    if bits == 8:
        return _synapse(layer, library, "event_{}", [spikes, event_rows(w)], a)
    rows = packed_rows(np.moveaxis(w, 1, -1).reshape(layer.outputs, -1), bits)
    return _synapse(layer, library, "event_packed_{}", [spikes, rows], a, bits=bits)


def _synapse(
    layer: LayerShape, library: ctypes.CDLL, name: str, operands: list[Array], a: Array, *,
    format_of_x: bool = False, bits: int | None = None,
) -> Call:  # fmt: skip
    """A call of a kernel, of which `name` lacks linear or conv2d, on x and stored weights."""
    scratch, window = _scratch(layer), _window(layer)
    conv = len(layer.inputs) == 3
    shape = (_at(window),) if conv else (ctypes.c_uint32(layer.inputs[0]), ctypes.c_uint32(layer.outputs))
    x, stored = map(_at, operands)
    formats, widths = [0] if format_of_x else [], [] if bits is None else [bits]
    arguments = (x, *formats, stored, *widths, _at(scratch), _at(a), *shape)
    kernel = library[f"esnn_{name.format('conv2d' if conv else 'linear')}"]
    return _call(kernel, arguments, (*operands, a, scratch, window))


def _call(kernel: Callable[..., object], arguments: tuple[object, ...], kept: object) -> Call:
    """A call that keeps what the arguments point to."""

    def call(_: object = kept) -> None:
        kernel(*arguments)

    return call


def _window(layer: LayerShape) -> Array:
    """esnn_window, and what follows it in esnn_grouped_window for one group."""
    return np.array([*layer.inputs, *layer.output_shape, 3, 3, 1, 1, 1, 1, 1, 1, 1], np.uint32)


def _scratch(layer: LayerShape) -> Array:
    """Enough for each kernel."""
    fan_in, width = int(np.prod(layer.weight_shape[1:])), layer.inputs[-1]
    bands = 128 * -(-fan_in // 32) + (3 * layer.inputs[0] + 1) * (width + 8)
    return np.zeros(bands + 2 * (1024 + 9 * layer.outputs) + fan_in, np.int16)


def _at(array: Array) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _peer(layer: LayerShape, x: Array, w: Array) -> Call:
    """MatMul and Conv for float32, MatMulInteger and QLinearConv for uint8; inputs and outputs are bound once."""
    import onnx
    import onnxruntime
    from onnx import helper, numpy_helper

    conv, quantized = len(layer.inputs) == 3, x.dtype == np.uint8
    w = w if conv else np.ascontiguousarray(w.T)
    constants: dict[str, Array] = {"w": w}
    attributes: dict[str, Any] = {"pads": [1, 1, 1, 1]} if conv else {}
    result: np.dtype[Any]
    operands, op, result = ["x", "w"], "Conv" if conv else "MatMul", np.dtype("float32")
    if quantized and conv:
        one, zero = np.array(1, np.float32), np.array(0, np.uint8)
        constants |= {"xs": one, "xz": zero, "ws": one, "wz": np.array(0, np.int8), "ys": np.array(10, np.float32),
                      "yz": zero}  # fmt: skip
        operands, op, result = ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz"], "QLinearConv", np.dtype("uint8")
    elif quantized:
        op, result = "MatMulInteger", np.dtype("int32")
    node = helper.make_node(op, operands, ["y"], **attributes)
    graph = helper.make_graph(
        [node], "layer",
        [helper.make_tensor_value_info("x", helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)],
        [helper.make_tensor_value_info("y", helper.np_dtype_to_tensor_dtype(result), (1, *layer.output_shape))],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    binding.bind_ortvalue_input("x", onnxruntime.OrtValue.ortvalue_from_numpy(x))
    binding.bind_output("y")
    return lambda: session.run_with_iobinding(binding)


def _hot(calls: dict[str, Call], layer: LayerShape) -> dict[str, float]:
    """Nanoseconds of processor time a call, the least of many short rounds that take turns."""
    repeats = max(1, int(_ROUND_MACS / layer.macs))
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(_HOT_ROUNDS):
        for name, call in calls.items():
            call()  # the one before had the caches to itself
            start = time.process_time_ns()
            for _ in range(repeats):
                call()
            best[name] = min(best[name], (time.process_time_ns() - start) / repeats)
    return best


def _cold(calls: dict[str, Call]) -> dict[str, float]:
    """The same for single calls after everything was driven out of the caches."""
    other = np.zeros(_CACHE_BYTES, np.uint8)
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(_COLD_ROUNDS):
        for name, call in calls.items():
            other += 1
            start = time.process_time_ns()
            call()
            best[name] = min(best[name], float(time.process_time_ns() - start))
    return best
