"""Time steps without gradient, fast: what SLTT-K and random back-propagation run between the drawn steps.

The arithmetic is that of `Network.step`, with three savings: what depends on weights alone (sign and scale, fake
quantization) is computed once a window, spikes meet 1-bit weights in int8 convolutions (oneDNN, three times as fast),
and the logits, which nobody reads, are not computed.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from edgesnn.layers import BinaryConv2d, BinaryLinear, Readout, binarize
from edgesnn.models.network import Network, State
from edgesnn.neurons import EMPF, IF, LIF, MultiLIF, Neuron
from edgesnn.neurons.base import at_step, widened
from edgesnn.neurons.empf import empf_step_
from edgesnn.neurons.lif import lif_step_

#: Layers that may be called as they are, whatever subclass of them.
_PLAIN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.MaxPool2d, nn.AvgPool2d, nn.Flatten, nn.Identity)
#: Layers of which a subclass may compute something else.
_OWN = (EMPF, IF, LIF, nn.Linear, nn.Conv2d, BinaryLinear, BinaryConv2d, Readout)
#: Layers that hand on integers where they get integers; a subclass of them may do something else.
_ORDER_KEEPING = (nn.MaxPool2d, nn.Flatten, nn.Identity)


@dataclass(frozen=True)
class _Signal:
    """What passes between two layers: values * unit. Where `integer` is set, values are whole numbers of 0-255."""

    values: Tensor
    unit: float = 1.0
    integer: bool = False

    @property
    def real(self) -> Tensor:
        return self.values if self.unit == 1.0 else self.values * self.unit


@dataclass(frozen=True)
class _Synapse:
    """What a layer multiplies with; `packed` is oneDNN's form, if it has one."""

    weight: Tensor
    binary: bool
    packed: Tensor | None = None
    scales: Tensor | None = None


class QuickSteps:
    """Steps of one window through `net` under torch.no_grad. Make a new one for each window, and call `forget` where
    parameters change within it.

    Equal to `Network.step` bit for bit where no int8 convolution is used, and to float rounding of the currents where
    one is. An image that stands still passes the first layer once. Networks with other layers than this file knows,
    with hooks of a user, or in less than float32, are stepped by `Network.step` itself.
    """

    def __init__(self, net: Network) -> None:
        self._net = net
        self._synapses: dict[str, _Synapse] = {}
        self._spikes: dict[str, Tensor] = {}  # memory that every step uses again; fresh pages cost more than arithmetic
        self._first = _first_synapse(net)
        self._held: tuple[Tensor, Tensor] | None = None  # an input of the network, and the current of that synapse
        self._channels_last = any(_is_channels_last(layer) for layer in net.layers.values())
        self._rounds = not any(isinstance(module, LIF | MultiLIF) for module in net.modules())
        self._known = _is_known(net)

    def forget(self) -> None:
        """What was computed from parameters, which have changed."""
        self._synapses, self._held = {}, None

    @torch.no_grad()
    def step(self, x: Tensor, state: State, t: int) -> State:
        """The new membranes after input x [N, *input_shape] at step t; see `Network.step`. `state` is overwritten.

        Mixed precision is left out where neurons compare with a threshold (LIF, IF, MultiLIF): a current that is
        rounded across it is a spike more or less.
        """
        with torch.autocast(x.device.type, enabled=self._rounds and torch.is_autocast_enabled(x.device.type)):
            return self._step(x, state, t)

    def _step(self, x: Tensor, state: State, t: int) -> State:
        if not self._known:
            return self._net.step(x, state, t)[1]
        signal, new_state = _Signal(self._net.shaped(x, lead=1)), State()
        for name, layer in self._net.layers.items():
            if name == "readout":
                break
            if isinstance(layer, Neuron):
                signal, v = self._fired(name, layer, signal.real, state.get(name), t)
                if v is not None:
                    new_state[name] = v
            elif isinstance(layer, nn.Conv2d | nn.Linear):
                signal = _Signal(self._current(name, layer, signal, x))
            elif type(layer) in _ORDER_KEEPING:
                signal = _Signal(layer(signal.values), signal.unit, signal.integer)
            else:
                signal = _Signal(layer(signal.real))
        return new_state

    def _fired(
        self, name: str, neuron: Neuron, current: Tensor, v: Tensor | None, t: int
    ) -> tuple[_Signal, Tensor | None]:
        if getattr(neuron, "parallel", False):
            return _Signal(neuron(current, v, t)[0]), None
        if v is None:  # membranes are float32 at least, also of currents in mixed precision
            v = torch.zeros_like(current, dtype=torch.promote_types(current.dtype, torch.float32))
        spikes = self._spikes.get(name)
        if spikes is None or spikes.shape != current.shape:
            spikes = self._spikes[name] = torch.empty_like(v)
        if isinstance(neuron, LIF):
            level = float(neuron.theta_values())
            lif_step_(current, v, spikes, neuron.lam, level, neuron.alpha, neuron.reset, neuron.strict)
            return _Signal(spikes, integer=True), v
        integer_step_ = getattr(neuron, "integer_step_", None)
        if integer_step_ is not None:
            return _Signal(spikes, integer_step_(current, v, spikes, t), integer=True), v
        lam, theta = (at_step(values, t, current.dim()) for values in (neuron.lam_values(), neuron.theta_values()))
        empf_step_(current, v, spikes, lam, theta)
        return _Signal(spikes), v

    def _current(self, name: str, layer: nn.Conv2d | nn.Linear, signal: _Signal, x: Tensor) -> Tensor:
        if name != self._first:
            return self._multiplied(name, layer, signal)
        if self._held is None or not _same(self._held[0], x):
            current = self._multiplied(name, layer, signal)
            if self._channels_last and current.dim() == 4:  # an input of one channel does not show its order
                current = current.contiguous(memory_format=torch.channels_last)
            self._held = (x, current)
        return self._held[1]

    def _multiplied(self, name: str, layer: nn.Conv2d | nn.Linear, signal: _Signal) -> Tensor:
        synapse = self._synapses.get(name)
        if synapse is None:
            synapse = self._synapses[name] = _synapse(layer)
        if isinstance(layer, nn.Linear):
            return linear(signal.real, synapse.weight, layer.bias)
        zeros = layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
        if not (signal.integer and synapse.binary and zeros and int8_convolutions(signal.values)):
            return layer._conv_forward(signal.real, synapse.weight, layer.bias)
        if synapse.packed is None:
            synapse = self._synapses[name] = _packed(layer, synapse, signal.values.shape)
        return _int8_conv2d(layer, synapse, signal)


def _is_channels_last(layer: nn.Module) -> bool:
    if not isinstance(layer, nn.Conv2d) or layer.weight.is_contiguous():
        return False
    return layer.weight.is_contiguous(memory_format=torch.channels_last)


def _same(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are the same memory, as the frames of an image that is repeated over time are."""
    return a.data_ptr() == b.data_ptr() and a.shape == b.shape and a.stride() == b.stride()


def _synapse(layer: nn.Conv2d | nn.Linear) -> _Synapse:
    quant_weight = getattr(layer, "quant_weight", None)
    if quant_weight is not None:
        quantized = quant_weight()
        return _Synapse(quantized.value, float(quantized.bit_width) == 1)
    if isinstance(layer, BinaryConv2d | BinaryLinear):
        return _Synapse(binarize(layer.weight), True)
    return _Synapse(layer.weight, False)


def int8_convolutions(x: Tensor) -> bool:
    """Whether x can go through oneDNN's convolution of u8 and s8 here."""
    return (
        x.device.type == "cpu" and x.dtype == torch.float32 and "onednn" in torch.backends.quantized.supported_engines
    )


def _is_known(net: Network) -> bool:
    narrow = any(value.dtype in (torch.float16, torch.bfloat16) for value in net.parameters())
    own_step = type(net).step is not Network.step
    return not (own_step or narrow or _is_hooked(net)) and all(map(_is_plain, net.layers.values()))


def _is_hooked(net: Network) -> bool:
    """Whether there are hooks other than that of mixed precision, without which membranes are wide here too."""
    hooks = (hook for module in net.modules() for hook in _hooks(module))
    return any(hook is not widened for hook in hooks)


def _hooks(module: nn.Module) -> Iterator[object]:
    yield from module._forward_hooks.values()
    yield from module._forward_pre_hooks.values()


def _is_plain(layer: nn.Module) -> bool:
    return _is_quantized(layer) or isinstance(layer, _PLAIN) or type(layer) in _OWN


def _is_quantized(layer: nn.Module) -> bool:
    """Layers of `edgesnn.quant` are told by what they have, so that networks without them do not import Brevitas."""
    return hasattr(layer, "calibrated") or hasattr(layer, "quant_weight")


def _first_synapse(net: Network) -> str | None:
    """The first layer with weights, if its current depends on nothing but the network's input and parameters."""
    for name, layer in net.layers.items():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            return name
        if isinstance(layer, Neuron) or not (type(layer) in _ORDER_KEEPING or _is_quantized(layer)):
            return None
    return None


def _geometry(layer: nn.Conv2d) -> tuple[list[int], list[int], list[int], int]:
    return [*layer.stride], [*cast(tuple[int, int], layer.padding)], [*layer.dilation], layer.groups


def _packed(layer: nn.Conv2d, synapse: _Synapse, shape: torch.Size) -> _Synapse:
    """With oneDNN's form of the signs, and the scale of each output channel, from weight = +-scale [O, C, kh, kw]."""
    signs = torch.where(synapse.weight >= 0, 1, -1).to(torch.int8)
    scales = synapse.weight.flatten(1).abs().amax(dim=1)
    packed = torch.ops.onednn.qconv_prepack(signs, scales, 1.0, 0, *_geometry(layer), list(shape))
    return replace(synapse, packed=packed, scales=scales)


def _int8_conv2d(layer: nn.Conv2d, synapse: _Synapse, signal: _Signal) -> Tensor:
    """Float currents, exact up to one rounding: unit * scale * (sum of u8 * +-1) + bias."""
    scales = cast(Tensor, synapse.scales)
    return torch.ops.onednn.qconv2d_pointwise(
        signal.values.to(torch.uint8), signal.unit, 0,
        synapse.packed, scales, torch.zeros_like(scales, dtype=torch.int32), layer.bias, *_geometry(layer),
        1.0, 0, torch.float32, "none", [], "",
    )  # fmt: skip
