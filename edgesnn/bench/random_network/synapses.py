"""Synapses of random networks: dense ones and convolutions, with weights of 1, 2, 4 and 8 bits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgesnn.bench.random_network.drawer import Array, Drawer, Shape, Signal, windows
from edgesnn.export.bounds import TRAINED_WEIGHT, accumulator_bound
from edgesnn.export.lower.values import Weights
from edgesnn.export.pack import pack_fields, pack_signs


@dataclass(frozen=True)
class Geometry:
    """Windows of a convolution, and its groups."""

    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    dilations: tuple[int, int]
    group: int

    @property
    def plain(self) -> bool:
        return self.group == 1 and self.dilations == (1, 1)


def linear(d: Drawer, name: str, x: Signal, outputs: int | None = None) -> Signal:
    """The accumulator of a dense synapse on x [C]."""
    weights, bits = _weights(d, (outputs or d.width(24), x.shape[0]))
    function, attributes, stored = "Linear", {}, weights
    if bits == 1:
        function, attributes, stored = "BinaryLinear", {"fan_in": x.shape[0]}, pack_signs(weights)
    elif bits < 8:
        function, stored = "PackedLinear", pack_fields(weights, bits)
        attributes = {"fan_in": x.shape[0], "bits": bits}
    return _call(d, name, function, x, weights, stored, (len(weights),), attributes)


def convolution(
    d: Drawer, name: str, x: Signal, geometry: Geometry | None = None, outputs: int | None = None
) -> Signal:
    """The accumulator of a convolution on x [C, H, W]."""
    g = geometry or geometry_of(d, x)
    outputs = outputs or g.group * d.width(max(1, 12 // g.group))
    weights, bits = _weights(d, (outputs, x.shape[0] // g.group, *g.kernel))
    attributes: dict[str, Any] = {"strides": list(g.strides), "pads": list(g.pads)}
    packed = {"fan_in": weights[0].size, "kernel": list(weights.shape)}
    function, stored = ("Conv2d" if g.plain else "GroupedConv2d"), weights
    if bits == 1:
        function, stored = ("BinaryConv2d" if g.plain else "GroupedBinaryConv2d"), pack_signs(weights)
        attributes |= packed
    elif bits < 8:
        function, stored = "PackedConv2d", pack_fields(weights, bits)
        attributes |= packed | {"bits": bits}
    if "Grouped" in function or "Packed" in function:
        attributes |= {"dilations": list(g.dilations), "group": g.group}
    shape = (outputs, *windows(x.shape[1:], g.kernel, g.strides, g.pads, g.dilations))
    return _call(d, name, function, x, weights, stored, shape, attributes)


def geometry_of(d: Drawer, x: Signal) -> Geometry:
    """Windows that fit x; half of the convolutions are plain."""
    draw = d.random
    kernel = tuple(draw.randint(1, min(3, size)) for size in x.shape[1:])
    pads = tuple(draw.randint(0, size - 1) for size in (*kernel, *kernel))
    strides, dilations, group = (draw.randint(1, 2), draw.randint(1, 2)), (1, 1), 1
    if d.chance(0.5):
        room = [
            max(1, (size + pads[axis] + pads[axis + 2] - 1) // max(1, width - 1))
            for axis, (size, width) in enumerate(zip(x.shape[1:], kernel, strict=True))
        ]
        dilations = (min(draw.randint(1, 2), room[0]), min(draw.randint(1, 2), room[1]))
        group = draw.choice([n for n in range(1, x.shape[0] + 1) if x.shape[0] % n == 0])
    return Geometry(kernel, strides, pads, dilations, group)  # type: ignore[arg-type]


#: Windows of one pixel, which keep an image's size.
PIXEL = Geometry((1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 1)


def _weights(d: Drawer, shape: Shape) -> tuple[Array, int]:
    """Weights as they multiply, and their bits; now and then all extreme."""
    bits = d.random.choice((1, 8) if d.part.weights or d.part.passed else (1, 1, 2, 4, 8, 8))
    if bits == 1:
        return d.values.choice(np.array([-1, 1], np.int8), shape), 1
    top = 2 ** (bits - 1)
    weights = d.integers(-top, top - 1, shape).astype(np.int8)
    if d.part.weights:
        return np.maximum(weights, -TRAINED_WEIGHT), bits
    if d.chance(0.1):
        weights[:] = -top
    return weights, bits


def _call(
    d: Drawer, name: str, function: str, x: Signal, weights: Array, stored: Array, shape: Shape, attributes: Any
) -> Signal:
    terms = math.prod(weights.shape[1:])
    if d.part.weights:
        _learn(d, f"{name}.weight", weights, stored)
        weights = np.full_like(weights, 1 if "Binary" in function else TRAINED_WEIGHT)
    else:
        d.builder.constant(f"{name}.weight", stored)
    d.builder.call(function, f"{name}.synapse", [x.name, f"{name}.weight"], [f"{name}.a"], **attributes)
    rows = weights.reshape(len(weights), terms)
    bound = accumulator_bound(rows, min(x.low, 0), x.high)
    return Signal(f"{name}.a", shape, -bound, bound, terms)


def _learn(d: Drawer, name: str, weights: Array, stored: Array) -> None:
    """Weights as a parameter, with latents where they have one bit; of a value for which currents are usually 1."""
    latent = (
        weights * d.integers(1, TRAINED_WEIGHT, weights.shape).astype(np.int8) if stored.dtype == np.uint8 else None
    )
    usual = math.sqrt(math.prod(weights.shape[1:])) * (1 if latent is not None else TRAINED_WEIGHT) / 4
    scale = d.values.uniform(0.5, 1.5, len(weights)) / usual
    d.synapses.append(Weights(d.builder.param(name, stored), scale, latent))
