"""Lower a calibrated network to `step.onnx`: every layer becomes nodes of the function library.

A synapse, its norm and its neuron fold together: with s_in and s_w the values of one unit of input and weight, g and h
the norm's gain and offset, and u the value of one membrane unit, the current is I = a * (s_w*s_in*g/u) + h/u.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import brevitas.nn as qnn
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgesnn.errors import ExportError
from edgesnn.export.bounds import TRAINED_WEIGHT, accumulator_bound
from edgesnn.export.builder import BATCH, GraphBuilder
from edgesnn.export.fixed_point import Q15, multiplier, rounded
from edgesnn.export.pack import pack_signs
from edgesnn.export.scopes import parse
from edgesnn.layers import Readout
from edgesnn.models import Network
from edgesnn.neurons import LIF
from edgesnn.neurons.base import Neuron
from edgesnn.quant import QuantEMPF, QuantInput, QuantReadout
from edgesnn.runtime.graph import NEW

Array = NDArray[Any]

#: Membrane bits below one spike step of a graded neuron, and below the threshold of a LIF neuron.
EMPF_FRACTION_BITS, LIF_FRACTION_BITS = 8, 12
#: A logit is in units of 2^-10 nat.
LOGIT_BITS = 10
_SYNAPSES = (qnn.QuantLinear, qnn.QuantConv2d)


@dataclass
class Signal:
    """The integer tensor between two layers: value name, real value of one unit, range, shape without batch."""

    name: str
    unit: float
    low: int
    high: int
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Weights:
    """The weights of a synapse as learning sees them."""

    name: str
    scale: Array  # value of one unit of an int8 weight, or of a sign, per output channel
    binary: bool
    latent: Array | None  # of 1-bit weights that learn: int8 [O, C], the real weights times 127
    source: Signal
    linear: bool


@dataclass
class Accumulator:
    """A synapse's output, waiting for the neuron that says how to rescale it."""

    layer: str
    name: str
    unit: Array  # value of one unit, per output channel
    offset: Array  # real bias, per output channel
    bound: int
    shape: tuple[int, ...]
    weights: Weights


@dataclass(frozen=True)
class ReadoutLayer:
    """The readout as learning sees it: input spikes, classes, leak (Q15), weight unit times spike unit."""

    spikes: Signal
    classes: int
    leak: int
    unit: float


@dataclass(frozen=True, eq=False)
class HiddenLayer:
    """A synapse with its norm, and its neuron, as learning sees them."""

    name: str  # of the neuron
    neuron: QuantEMPF | LIF
    current: Accumulator
    membrane: float  # value of one unit of a membrane
    spikes: Signal


@dataclass(frozen=True)
class Lowered:
    """The nodes of one time step, its input, readout, number of parameter sets (1: shared), and hidden layers."""

    builder: GraphBuilder
    input: Signal
    readout: ReadoutLayer
    steps: int
    hidden: tuple[HiddenLayer, ...]


def lower(qnet: Network, learn: str | None) -> Lowered:
    """Nodes, constants and persistent tensors of one time step, for what the device may learn.

    With `means`, the graph ends in front of the readout: class means take its place.

    Raises:
        ExportError: a layer, or an order of layers, that has no integer form.
    """
    builder, steps = GraphBuilder(), _parameter_steps(qnet)
    synapses = sum(isinstance(layer, _SYNAPSES) and not isinstance(layer, Readout) for layer in qnet.layers.values())
    scope = parse(learn, synapses)
    hidden: list[HiddenLayer] = []
    if steps > 1:
        _add_time_index(builder, steps)
    source: Signal | None = None
    signal: Signal | None = None
    pending: Accumulator | None = None
    readout: ReadoutLayer | None = None
    for name, layer in qnet.layers.items():
        match layer:
            case QuantInput():
                source = signal = _input(builder, layer, qnet.input_shape)
            case QuantReadout():
                readout = _readout_layer(builder, name, layer, _ready(name, signal, pending))
                if not scope.means:
                    _readout(builder, name, layer, readout, trainable=scope.readout)
            case qnn.QuantLinear() | qnn.QuantConv2d():
                learns = synapses - len(hidden) <= scope.weights
                pending = _synapse(builder, name, layer, _ready(name, signal, pending), trainable=learns)
            case nn.BatchNorm1d() | nn.BatchNorm2d():
                _fold_norm(name, layer, pending)
            case QuantEMPF() | LIF():
                learns = synapses - len(hidden) <= scope.thresholds
                hidden.append(_neuron(builder, name, layer, _waiting(name, pending), trainable=learns))
                signal, pending = hidden[-1].spikes, None
            case nn.MaxPool2d():
                signal = _max_pool(builder, name, layer, _ready(name, signal, pending))
            case nn.Flatten():
                signal = _flatten(builder, name, _ready(name, signal, pending))
            case _:
                raise ExportError(
                    f"{name}: expected a layer with an integer form, got {type(layer).__name__}; "
                    "see the table of layers in docs/architecture.md"
                )
    if source is None or readout is None:
        raise ExportError("network: expected a readout as its last layer, got none; end it with layers.Readout")
    return Lowered(builder, source, readout, steps, tuple(hidden))


def _ready(name: str, signal: Signal | None, pending: Accumulator | None) -> Signal:
    if signal is None:
        raise ExportError(
            f"{name}: expected the input quantizer before it, got no input; quantize with edgesnn.quantize"
        )
    if pending is not None:
        raise ExportError(
            f"{name}: expected a neuron after {pending.layer}, got a layer that needs spikes; put a neuron between them"
        )
    return signal


def _waiting(name: str, pending: Accumulator | None) -> Accumulator:
    if pending is None:
        raise ExportError(f"{name}: expected a synapse before it, got none; put Linear or Conv2d before it")
    return pending


def _parameter_steps(qnet: Network) -> int:
    """T where neurons have parameters per time step, else 1."""
    lengths = {
        len(values)
        for layer in qnet.layers.values()
        if isinstance(layer, Neuron)
        for values in (layer.lam_values(), layer.theta_values())
    } - {1}
    if len(lengths) > 1:
        raise ExportError(
            f"network: expected one number of time steps in all neurons, got {sorted(lengths)}; "
            "give every neuron the same `steps`"
        )
    return lengths.pop() if lengths else 1


def _add_time_index(builder: GraphBuilder, steps: int) -> None:
    builder.state("t", (1,), batched=False)
    builder.call("NextStep", "t.next", ["t"], ["t" + NEW], steps=steps)


def _input(builder: GraphBuilder, layer: QuantInput, shape: tuple[int, ...]) -> Signal:
    dtype, low, high = ("int8", -128, 127) if layer.signed else ("uint8", 0, 255)
    builder.input("x", dtype, [BATCH, *shape])
    return Signal("x", layer.scale, low, high, shape)


def _numpy(tensor: torch.Tensor) -> Array:
    return tensor.detach().cpu().double().numpy()


def _integers(name: str, layer: Any) -> tuple[Array, Array, int]:
    """Integer weights [O, ...], the value of their unit ([O], or [1] for all), and their bits.

    They are divided out here because Brevitas takes 1-bit weights that all have one sign for invalid.
    """
    quantized = layer.quant_weight()
    scale = _numpy(quantized.scale).reshape(-1)
    values = _numpy(quantized.value)
    if not (np.isfinite(values).all() and np.isfinite(scale).all() and (scale > 0).all()):
        raise ExportError(
            f"{name}: expected finite weights with a scale above 0, got a scale of {scale.min():g}; "
            "train the network again"
        )
    weights = np.rint(values / scale.reshape(-1, *[1] * (values.ndim - 1))).astype(np.int8)
    return weights, scale, int(quantized.bit_width)


def _synapse(
    builder: GraphBuilder, name: str, layer: qnn.QuantLinear | qnn.QuantConv2d, signal: Signal, trainable: bool
) -> Accumulator:
    weights, scale, bits = _integers(name, layer)
    scale = np.broadcast_to(scale, (len(weights),))
    offset = np.zeros(len(weights)) if layer.bias is None else _numpy(layer.bias)
    binary = bits == 1
    largest = np.full_like(weights, 1 if binary else TRAINED_WEIGHT) if trainable else weights
    bound = accumulator_bound(largest.reshape(len(weights), -1), signal.low, signal.high)
    keep = builder.param if trainable else builder.constant
    operands = [signal.name, keep(f"{name}.weight", pack_signs(weights) if binary else weights)]
    unit, latent = scale * signal.unit, _latents(weights, layer) if trainable and binary else None
    learned = Weights(operands[1], scale, binary, latent, signal, isinstance(layer, qnn.QuantLinear))
    fan_in = {"fan_in": int(weights[0].size)} if binary else {}
    if isinstance(layer, qnn.QuantLinear):
        builder.call("BinaryLinear" if binary else "Linear", f"{name}.synapse", operands, [f"{name}.a"], **fan_in)
        return Accumulator(name, f"{name}.a", unit, offset, bound, (len(weights),), learned)
    strides, pads, shape = _conv_geometry(name, layer, signal.shape)
    kernel = {"kernel": list(weights.shape)} if binary else {}
    builder.call(
        "BinaryConv2d" if binary else "Conv2d",
        f"{name}.synapse",
        operands,
        [f"{name}.a"],
        strides=strides,
        pads=pads,
        **fan_in,
        **kernel,
    )
    return Accumulator(name, f"{name}.a", unit, offset, bound, (len(weights), *shape), learned)


def _latents(signs: Array, layer: qnn.QuantLinear | qnn.QuantConv2d) -> Array:
    """Real weights of +-1 as int8 of +-127, with the signs that are deployed."""
    rounded_weights = np.clip(np.rint(_numpy(layer.weight) * TRAINED_WEIGHT), -TRAINED_WEIGHT, TRAINED_WEIGHT)
    return np.where(signs > 0, np.maximum(rounded_weights, 0), np.minimum(rounded_weights, -1)).astype(np.int8)


def _conv_geometry(name: str, layer: nn.Conv2d, shape: tuple[int, ...]) -> tuple[list[int], list[int], tuple[int, int]]:
    if (
        layer.groups != 1
        or tuple(layer.dilation) != (1, 1)
        or layer.padding_mode != "zeros"
        or isinstance(layer.padding, str)
    ):
        raise ExportError(
            f"{name}: expected a Conv2d with groups=1, dilation=1 and numeric zero padding, got "
            f"groups={layer.groups}, dilation={layer.dilation}, padding={layer.padding!r} "
            f"({layer.padding_mode}); change the layer"
        )
    (kh, kw), (sh, sw), (ph, pw) = layer.kernel_size, layer.stride, layer.padding
    _, height, width = shape
    out = ((height + 2 * ph - kh) // sh + 1, (width + 2 * pw - kw) // sw + 1)
    return [sh, sw], [ph, pw, ph, pw], out


def _fold_norm(name: str, norm: nn.BatchNorm1d | nn.BatchNorm2d, pending: Accumulator | None) -> None:
    """y = (x - mean)/sqrt(var + eps)*gamma + beta, folded into the accumulator's unit and offset."""
    accumulator = _waiting(name, pending)
    if norm.running_mean is None or norm.running_var is None:
        raise ExportError(f"{name}: expected running statistics, got a norm without; use track_running_stats=True")
    gain = 1.0 / np.sqrt(_numpy(norm.running_var) + norm.eps)
    shift = np.zeros_like(gain)
    if norm.affine:
        gain, shift = gain * _numpy(norm.weight), _numpy(norm.bias)
    accumulator.unit = accumulator.unit * gain
    accumulator.offset = (accumulator.offset - _numpy(norm.running_mean)) * gain + shift


def _rescale(builder: GraphBuilder, accumulator: Accumulator, unit: float, place: str) -> str:
    """The accumulator in units of `unit`, as a node; returns the name of the current."""
    layer = accumulator.layer
    m, shift = multiplier(accumulator.unit / unit, accumulator.bound, place)
    b = rounded(accumulator.offset / unit, place)
    spatial = (-1, *[1] * (len(accumulator.shape) - 1))
    operands = [
        accumulator.name,
        builder.constant(f"{layer}.M", m.reshape(spatial)),
        builder.constant(f"{layer}.b", b.reshape(spatial)),
    ]
    builder.call("Rescale", f"{layer}.rescale", operands, [f"{layer}.I"], shift=shift)
    return f"{layer}.I"


def _per_step(builder: GraphBuilder, name: str, values: Array, trainable: bool = False) -> str:
    """A [1] constant, or the entry of a [T] table at the current time index; a parameter if trainable."""
    (builder.param if trainable else builder.constant)(name, values)
    if len(values) == 1:
        return name
    builder.standard("Gather", f"{name}.at", [name, "t"], [f"{name}.now"])
    return f"{name}.now"


def _neuron(
    builder: GraphBuilder, name: str, neuron: QuantEMPF | LIF, accumulator: Accumulator, trainable: bool
) -> HiddenLayer:
    theta = _numpy(neuron.theta_values())
    if isinstance(neuron, LIF):
        unit, spike_unit, high = float(theta.max()) / 2**LIF_FRACTION_BITS, 1.0, 1
    else:
        unit, spike_unit, high = neuron.scale / 2**EMPF_FRACTION_BITS, neuron.scale, 2**neuron.bits - 1
    current = _rescale(builder, accumulator, unit, name)
    threshold = _per_step(builder, f"{name}.theta", rounded(theta / unit, name), trainable)
    spikes, shape = f"{name}.s", accumulator.shape
    layer = HiddenLayer(name, neuron, accumulator, unit, Signal(spikes, spike_unit, 0, high, shape))
    if isinstance(neuron, QuantEMPF) and neuron.parallel:
        builder.call(
            "ParallelEMPF", f"{name}.fire", [current, threshold], [spikes], k=EMPF_FRACTION_BITS, bits=neuron.bits
        )
        return layer
    leak = _per_step(builder, f"{name}.lam", rounded(_numpy(neuron.lam_values()) * Q15, name))
    membrane = builder.state(f"{name}.v", shape)
    inputs, outputs = [membrane, current, leak, threshold], [spikes, membrane + NEW]
    if isinstance(neuron, LIF):
        builder.call("LIF", f"{name}.fire", inputs, outputs)
    else:
        builder.call("EMPF", f"{name}.fire", inputs, outputs, k=EMPF_FRACTION_BITS, bits=neuron.bits)
    return layer


def _max_pool(builder: GraphBuilder, name: str, layer: nn.MaxPool2d, signal: Signal) -> Signal:
    kernel = (layer.kernel_size,) * 2 if isinstance(layer.kernel_size, int) else tuple(layer.kernel_size)
    stride = (layer.stride,) * 2 if isinstance(layer.stride, int) else tuple(layer.stride)
    if layer.padding not in (0, (0, 0)) or layer.dilation not in (1, (1, 1)) or layer.ceil_mode:
        raise ExportError(
            f"{name}: expected a MaxPool2d without padding, dilation and ceil_mode, got {layer}; change it"
        )
    builder.call(
        "MaxPool2d", f"{name}.max", [signal.name], [f"{name}.s"], kernel_shape=list(kernel), strides=list(stride)
    )
    channels, *size = signal.shape
    out = tuple((side - k) // s + 1 for side, k, s in zip(size, kernel, stride, strict=True))
    return Signal(f"{name}.s", signal.unit, signal.low, signal.high, (channels, *out))


def _flatten(builder: GraphBuilder, name: str, signal: Signal) -> Signal:
    builder.standard("Flatten", name, [signal.name], [f"{name}.s"], axis=1)
    return Signal(f"{name}.s", signal.unit, signal.low, signal.high, (int(np.prod(signal.shape)),))


def _readout_layer(builder: GraphBuilder, name: str, layer: QuantReadout, signal: Signal) -> ReadoutLayer:
    weights, scale, _ = _integers(name, layer)
    leak = int(rounded(np.array(layer.leak * Q15), name))
    builder.constant(f"{name}.leak", np.array([leak], np.int32))
    return ReadoutLayer(signal, len(weights), leak, float(scale[0]) * signal.unit)


def _readout(builder: GraphBuilder, name: str, layer: QuantReadout, readout: ReadoutLayer, trainable: bool) -> None:
    """Linear -> Rescale to 2^-10 nat -> LeakyIntegrate; trainable weights and bias become parameters."""
    weights, _, _ = _integers(name, layer)
    classes, signal, unit = readout.classes, readout.spikes, readout.unit
    offset = np.zeros(classes) if layer.bias is None else _numpy(layer.bias)
    worst = np.full_like(weights, TRAINED_WEIGHT) if trainable else weights
    bound = accumulator_bound(worst, signal.low, signal.high)
    m, shift = multiplier(np.full(classes, unit * 2**LOGIT_BITS), bound, name)
    bias = rounded(offset * 2**LOGIT_BITS, name)
    keep = builder.param if trainable else builder.constant
    operands = [signal.name, keep(f"{name}.weight", weights)]
    builder.call("Linear", f"{name}.synapse", operands, [f"{name}.a"])
    scaling = [f"{name}.a", builder.constant(f"{name}.M", m), keep(f"{name}.bias", bias)]
    builder.call("Rescale", f"{name}.rescale", scaling, [f"{name}.I"], shift=shift)
    accumulator = builder.state(f"{name}.acc", (classes,))
    builder.call("LeakyIntegrate", f"{name}.integrate", [accumulator, f"{name}.I", f"{name}.leak"], ["y"])
    builder.standard("Identity", f"{name}.keep", ["y"], [accumulator + NEW])
    builder.output("y", "int32", [BATCH, classes])
