"""Layers of random networks but for their synapses: neurons, pooling, attention, delays and changes of shape."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from edgesnn.bench.random_network.drawer import CURRENT, Drawer, Shape, Signal, column, windows
from edgesnn.export.fixed_point import Q15
from edgesnn.export.functions.attention import SIGMOID_Q15
from edgesnn.export.lower import HiddenLayer
from edgesnn.runtime.graph import NEW

_NEURONS = ("EMPF", "EMPF", "ParallelEMPF", "LIF", "LIFDrop", "LIFClear")
_LEAKS = (0, 1, 2**14, Q15 - 1, Q15)
_HIGHEST_THRESHOLD = 2**22


def fire(d: Drawer, name: str, current: Signal) -> Signal:
    """A layer of neurons, with numbers of the whole layer or of each channel."""
    b, draw, function = d.builder, d.random, d.random.choice(_NEURONS)
    by_channel = d.chance(0.4)
    shape: Shape = column(current.shape) if by_channel else (() if d.by_step else (1,))
    grade: dict[str, Any] = {"k": draw.randint(1, 15), "bits": draw.choice((1, 2, 4, 8))}
    highest = 2 ** draw.randint(1, 22)
    if d.level is not None:
        grade["k"] = min(max(d.level - grade["bits"] + draw.randint(-1, 1), 1), 15)
        highest = 2 ** draw.randint(1, d.level)
    learns = False
    if d.part.reached:
        level, learns = d.level or 0, function != "LIFDrop"
        width = round(2 ** draw.uniform(level - 4, level + 1)) if "LIF" in function else None
        d.hidden.append(HiddenLayer(name, 2.0**-level, width, tuple(d.synapses), learns))
        d.synapses.clear()
    theta = d.numbers(f"{name}.theta", shape, 0, highest, learns=learns)
    out = Signal(f"{name}.s", current.shape, 0, 2 ** grade["bits"] - 1 if "EMPF" in function else 1)
    if function == "ParallelEMPF":
        b.call(function, f"{name}.fire", [current.name, theta], [out.name], **grade)
        return out
    wide = by_channel and current.shape[0] > 1 and function == "EMPF" and d.level is None
    most = 2**18 if wide else Q15
    lam = d.numbers(f"{name}.lam", shape, -most if most > Q15 else 0, most, _LEAKS)
    operands = [b.state(f"{name}.v", current.shape), current.name, lam, theta]
    if function == "LIFDrop":
        operands.append(d.numbers(f"{name}.drop", shape, 0, _HIGHEST_THRESHOLD if d.level is None else 2**d.level))
    b.call(function, f"{name}.fire", operands, [out.name, f"{name}.v{NEW}"], **(grade if function == "EMPF" else {}))
    return out


def pool(d: Drawer, name: str, x: Signal) -> Signal:
    """The largest or the mean of each window; of the whole image, now and then."""
    draw, signed = d.random, x.low < 0
    function = "PaddedMaxPool2d" if signed else draw.choice(("MaxPool2d", "PaddedMaxPool2d", "AveragePool2d"))
    kernel, strides, pads = _pool_windows(d, x, padded=function != "MaxPool2d")
    attributes: dict[str, Any] = {"kernel_shape": kernel, "strides": strides}
    attributes |= {} if function == "MaxPool2d" else {"pads": pads}
    if function == "AveragePool2d":
        shift = draw.choice((0, draw.randint(1, 20)))
        attributes |= {"M": max(1, round(2**shift / math.prod(kernel))), "shift": shift}
    d.builder.call(function, name, [x.name], [f"{name}.s"], **attributes)
    high = 255 if function == "AveragePool2d" else x.high
    return Signal(f"{name}.s", (x.shape[0], *windows(x.shape[1:], kernel, strides, pads, (1, 1))), x.low, high)


def sum_pool(d: Drawer, name: str, x: Signal) -> Signal:
    """The accumulator of a pool that a current is made of."""
    kernel, strides, pads = _pool_windows(d, x, padded=True)
    d.builder.call(
        "SumPool2d", f"{name}.sum_pool", [x.name], [f"{name}.a"], kernel_shape=kernel, strides=strides, pads=pads
    )
    bound = math.prod(kernel) * x.largest
    return Signal(f"{name}.a", (x.shape[0], *windows(x.shape[1:], kernel, strides, pads, (1, 1))), -bound, bound)


def _pool_windows(d: Drawer, x: Signal, padded: bool) -> tuple[list[int], list[int], list[int]]:
    draw = d.random
    whole = d.chance(0.2)
    kernel = list(x.shape[1:]) if whole else [draw.randint(1, min(3, size)) for size in x.shape[1:]]
    pads = [draw.randint(0, size - 1) if padded and not whole else 0 for size in (*kernel, *kernel)]
    return kernel, [draw.randint(1, 3), draw.randint(1, 3)], pads


def widen(d: Drawer, name: str, x: Signal) -> Signal:
    """A signal as the accumulator of a shortcut."""
    d.builder.call("Widen", f"{name}.widen", [x.name], [f"{name}.a"])
    return Signal(f"{name}.a", x.shape, x.low, x.high)


def add(d: Drawer, name: str, a: Signal, b: Signal) -> Signal:
    d.builder.call("Add", f"{name}.add", [a.name, b.name], [f"{name}.sum"])
    return Signal(f"{name}.sum", a.shape, a.low + b.low, a.high + b.high)


def attention(d: Drawer, name: str, current: Signal, context: Signal) -> Signal:
    """A current scaled by the score of its channel."""
    draw, b = d.random, d.builder
    pixels = math.prod(current.shape[1:])
    kernel = d.integers(-(2**10), 2**10, (draw.choice((1, 3, 5)),)).astype(np.int32)
    b.constant(f"{name}.kernel", kernel)
    b.constant(f"{name}.table", SIGMOID_Q15)
    mean_shift = draw.randint(1, 16)
    b.call(
        "ChannelAttention", f"{name}.score", [current.name, context.name, f"{name}.kernel", f"{name}.table"],
        [f"{name}.y"], pixels=pixels, mean=max(1, round(2**mean_shift / pixels)), mean_shift=mean_shift,
        shift=draw.randint(1, 30) if d.level is None else d.level - draw.randint(1, 4),
    )  # fmt: skip
    return Signal(f"{name}.y", current.shape, current.low, current.high)


def delay(d: Drawer, name: str, x: Signal) -> Signal:
    """The past of a stream, as a causal convolution over time reads it."""
    draw, b = d.random, d.builder
    taps, dilation = draw.randint(1, 3), draw.randint(1, 2)
    slots = (taps - 1) * dilation + draw.randint(1, 2)
    past = b.state(f"{name}.past", (slots, *x.shape), dtype="int8" if x.low < 0 else "uint8")
    at = b.state(f"{name}.slot", (1,), batched=False)
    b.call("Delay", name, [past, x.name, at], [f"{name}.s", past + NEW, at + NEW], taps=taps, dilation=dilation)
    return Signal(f"{name}.s", (taps * x.shape[0],), x.low, x.high)


def upsample(d: Drawer, name: str, x: Signal) -> Signal:
    """Pixels repeated: any size up to twice that of the image."""
    rows, columns = (
        [at * size // longer for at in range(longer)]
        for size, longer in ((size, d.random.randint(1, 2 * size)) for size in x.shape[1:])
    )
    d.builder.call("Upsample2d", name, [x.name], [f"{name}.s"], rows=rows, columns=columns)
    return Signal(f"{name}.s", (x.shape[0], len(rows), len(columns)), x.low, x.high)


def flat(d: Drawer, name: str, x: Signal) -> Signal:
    if not x.is_image:
        return x
    d.builder.standard("Flatten", name, [x.name], [f"{name}.s"], axis=1)
    return Signal(f"{name}.s", (math.prod(x.shape),), x.low, x.high)


def requantize(d: Drawer, name: str, current: Signal) -> Signal:
    """A current that a synapse reads without a neuron between."""
    import onnx

    signed, bits = d.chance(0.5), d.random.choice((1, 2, 4, 8))
    to = {"bits": bits, "to": onnx.TensorProto.INT8 if signed else onnx.TensorProto.UINT8}
    usual = CURRENT * 2.0 ** -d.random.uniform(0, 20) if d.level is None else 2.0**d.level
    found = d.rescale(name, current, 2.0 ** (bits - 1) / usual, to=to)
    return Signal(found.name, found.shape, -(2 ** (bits - 1)) if signed else 0, 2 ** (bits - signed) - 1)
