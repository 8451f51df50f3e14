"""Synapses: integer weights, packed where they have fewer than 8 bits, and exact accumulators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import brevitas.nn as qnn
import numpy as np
from torch import nn

from edgesnn.errors import ExportError
from edgesnn.export.bounds import TRAINED_WEIGHT, accumulator_bound
from edgesnn.export.builder import GraphBuilder
from edgesnn.export.lower.currents import numpy
from edgesnn.export.lower.values import Accumulator, Array, Current, Signal, Weights
from edgesnn.export.pack import pack_fields, pack_signs

QUANT_SYNAPSES = (qnn.QuantLinear, qnn.QuantConv1d, qnn.QuantConv2d)


@dataclass(frozen=True)
class Learns:
    """What learning asks of a synapse: weights that are a parameter, or that it reads as bytes."""

    weights: bool = False
    reads: bool = False


def integers(name: str, layer: Any) -> tuple[Array, Array, int]:
    """Integer weights [O, ...], the value of their unit ([O], or [1] for all), and their bits.

    They are divided out here because Brevitas takes 1-bit weights that all have one sign for invalid.

    Raises:
        ExportError: weights or scales that are not finite, or a scale that is not above 0.
    """
    quantized = layer.quant_weight()
    scale = numpy(quantized.scale).reshape(-1)
    values = numpy(quantized.value)
    if not (np.isfinite(values).all() and np.isfinite(scale).all() and (scale > 0).all()):
        raise ExportError(
            f"{name}: expected finite weights with a scale above 0, got a scale of {scale.min():g}; "
            "train the network again"
        )
    weights = np.rint(values / scale.reshape(-1, *[1] * (values.ndim - 1))).astype(np.int8)
    return weights, scale, int(quantized.bit_width)


def synapse(
    builder: GraphBuilder, name: str, layer: Any, signal: Signal, learns: Learns
) -> tuple[Current, Weights]:  # fmt: skip
    """The accumulator of a layer of `QUANT_SYNAPSES`, with its bias as the offset; and its weights.

    Raises:
        ExportError: a convolution whose padding is not a number of zeros.
    """
    weights, scale, bits = integers(name, layer)
    scale = np.broadcast_to(scale, (len(weights),))
    offset = np.zeros(len(weights)) if layer.bias is None else numpy(layer.bias)
    if isinstance(layer, qnn.QuantConv1d):
        weights = weights[:, :, None]
    binary, packed = bits == 1, bits in (2, 4) and not (learns.weights or learns.reads)
    stored = pack_signs(weights) if binary else pack_fields(weights, bits) if packed else weights
    keep = builder.param if learns.weights else builder.constant
    operands = [signal.name, keep(f"{name}.weight", stored)]
    form = "Binary" if binary else "Packed" if packed else ""
    attributes: dict[str, Any] = {"fan_in": int(weights[0].size)} if form else {}
    attributes |= {"bits": bits} if packed else {}
    function, shape = f"{form}Linear", weights.shape[:1]
    if not isinstance(layer, qnn.QuantLinear):
        geometry, shape = _geometry(name, layer, weights.shape, signal.shape)
        plain = not packed and geometry["group"] == 1 and geometry["dilations"] == [1, 1]
        function = f"{form}Conv2d" if plain or packed else f"Grouped{form}Conv2d"
        attributes |= {key: value for key, value in geometry.items() if not plain or key in ("strides", "pads")}
        attributes |= {"kernel": list(weights.shape)} if form else {}
    builder.call(function, f"{name}.synapse", operands, [f"{name}.a"], **attributes)
    largest = np.full_like(weights, 1 if binary else TRAINED_WEIGHT) if learns.weights else weights
    bound = accumulator_bound(largest.reshape(len(weights), -1), signal.low, signal.high)
    latent = _latents(weights, layer) if learns.weights and binary else None
    current = Current((Accumulator(name, f"{name}.a", scale * signal.unit, bound, shape),), offset)
    return current, Weights(operands[1], scale, latent)


def _latents(signs: Array, layer: Any) -> Array:
    """Real weights of +-1 as int8 of +-127, with the signs that are deployed."""
    rounded_weights = np.clip(
        np.rint(numpy(layer.weight).reshape(signs.shape) * TRAINED_WEIGHT), -TRAINED_WEIGHT, TRAINED_WEIGHT
    )
    return np.where(signs > 0, np.maximum(rounded_weights, 0), np.minimum(rounded_weights, -1)).astype(np.int8)


def _geometry(
    name: str, layer: nn.Conv1d | nn.Conv2d, kernel: tuple[int, ...], shape: tuple[int, ...]
) -> tuple[dict[str, Any], tuple[int, ...]]:
    """Attributes of a convolution, and the shape of its result; one over time has a height of 1."""
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        raise ExportError(
            f"{name}: expected a convolution with a number of zeros around the image, got padding={layer.padding!r} "
            f"({layer.padding_mode}); change the layer"
        )
    strides, padding, dilations = (
        [*([fill] if isinstance(layer, nn.Conv1d) else []), *values]
        for fill, values in ((1, layer.stride), (0, layer.padding), (1, layer.dilation))
    )
    sides = zip(shape[1:], kernel[2:], strides, padding, dilations, strict=True)
    out = (kernel[0], *((side + 2 * pad - d * (k - 1) - 1) // s + 1 for side, k, s, pad, d in sides))
    pads = [*padding, *padding]
    return {"strides": strides, "pads": pads, "dilations": dilations, "group": layer.groups}, out
