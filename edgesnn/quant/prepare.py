"""Replace the layers of a float network by fake-quantized ones.

Between two layers there are *spikes* (an input frame is taken for spikes), small integers of one unit, or a *current*,
which has no integers before a neuron reads it. Where a synapse reads a current, a quantizer comes between.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from edgesnn.errors import QuantizationError
from edgesnn.layers import SECA, Readout, Scale, TemporalConv
from edgesnn.models import Attention, Block, Chain, Feedback, Network, Residual, evaluating, leaves
from edgesnn.models.units import SYNAPSES
from edgesnn.neurons import EMPF, LIF, MultiLIF
from edgesnn.neurons.empf_norm import FoldedEMPF
from edgesnn.quant.layers import QuantCurrent, QuantEMPF, QuantFoldedEMPF, QuantInput, QuantReadout
from edgesnn.quant.synapses import quant_synapse
from edgesnn.quant.widths import OUTER_BITS, Widths

#: A sum of spikes up to this is a signal of 8 bits as it is.
LARGEST_SIGNAL = 255
#: What the scales of weights, spikes and input may be. The readout's are free.
SCALES = ("free", "power-of-two")

Layers = dict[str, nn.Module]
_READ_INTEGERS = (*SYNAPSES, TemporalConv, nn.MaxPool1d, nn.MaxPool2d)
_GLOBAL_MEANS = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d)


@dataclass(frozen=True)
class Flow:
    """What passes between two layers: a current, or integers up to `top`; and whether it can be negative."""

    current: bool
    signed: bool
    top: int = 0


_CURRENT = Flow(current=True, signed=True)


def prepare(
    net: Network,
    weights: int | Mapping[str, int],
    spikes: int | Mapping[str, int],
    signed_input: bool = True,
    learned: dict[str, Any] | None = None,
    scales: str = "free",
) -> Network:
    """A copy of `net` with fake-quantized weights, spikes and input; not calibrated.

    Args:
        net: a float network; its synapses keep their latent weights.
        weights: bits of the hidden synapses (1: sign times a scale per output channel), or bits by layer.
        spikes: bits of a spike, or bits by layer; LIF neurons have 1.
        signed_input: whether frames are int8 (else uint8).
        learned: the arguments of `QuantReadout` that keep integers which a device learned.
        scales: of hidden weights, spikes and input: one of `SCALES`.

    Raises:
        QuantizationError: bit widths that are not offered, a layer that cannot be quantized, or a quantized network.
    """
    if "quantization" in net.config:
        raise QuantizationError(
            "quantize: expected a float network, got one that is quantized; start from the float one"
        )
    if scales not in SCALES:
        raise QuantizationError(f"quantize: expected scales to be one of {', '.join(SCALES)}, got {scales!r}")
    power_of_two = scales != "free"
    walk = _Walk(Widths.of(net, weights, spikes), _areas(net), learned or {}, power_of_two)
    start = Flow(current=False, signed=signed_input, top=127 if signed_input else 255)
    layers, _ = walk.chain(net.layers.items(), start)
    quantization: dict[str, Any] = {
        "weights": _plain(weights), "spikes": _plain(spikes), "signed_input": signed_input
    }  # fmt: skip
    if learned:
        quantization["learned"] = learned
    if power_of_two:
        quantization["scales"] = scales
    config: dict[str, Any] = {**net.config, "quantization": quantization}
    entry = QuantInput(signed=signed_input, power_of_two=power_of_two)
    return Network({"input": entry, **layers}, config, net.input_shape, net.classes)


def _plain(bits: int | Mapping[str, int]) -> int | dict[str, int]:
    return bits if isinstance(bits, int) else dict(bits)


def _area(layer: nn.AvgPool1d | nn.AvgPool2d) -> int:
    """Values that an average pooling adds up."""
    kernel = layer.kernel_size
    if isinstance(kernel, int):
        return kernel**2 if isinstance(layer, nn.AvgPool2d) else kernel
    return math.prod(kernel)


def sums_fit(top: int, area: int) -> bool:
    """Whether the sum of so many integers up to `top` is a signal of 8 bits, so that their mean needs no rounding."""
    return top * area <= LARGEST_SIGNAL


def _areas(net: Network) -> dict[str, int]:
    """Pixels that each global average pooling sees, by path."""
    pools = {path: layer for path, layer in leaves(net) if isinstance(layer, _GLOBAL_MEANS)}
    found: dict[str, int] = {}
    hooks = [
        layer.register_forward_pre_hook(lambda _, args, path=path: found.update({path: args[0][0, 0].numel()}))
        for path, layer in pools.items()
    ]
    if hooks:
        with evaluating(net), torch.no_grad():
            net.step(torch.zeros(1, *net.input_shape), {}, 0)
    for hook in hooks:
        hook.remove()
    return found


class _Walk:
    """Goes through chains and blocks, and knows whether the first synapse has come."""

    def __init__(self, widths: Widths, areas: dict[str, int], learned: dict[str, Any], power_of_two: bool) -> None:
        self._widths, self._areas, self._learned, self._first = widths, areas, learned, True
        self._power_of_two = power_of_two

    def chain(self, layers: Iterable[tuple[str, nn.Module]], flow: Flow, path: str = "") -> tuple[Layers, Flow]:
        found: Layers = {}
        for name, layer in layers:
            if flow.current and isinstance(layer, _READ_INTEGERS):
                found[f"{name}_input"] = QuantCurrent(signed=flow.signed, power_of_two=self._power_of_two)
                flow = Flow(current=False, signed=flow.signed, top=127 if flow.signed else 255)
            if isinstance(layer, Block):
                found[name], flow = self._block(layer, flow, f"{path}{name}.")
            else:
                found[name], flow = self._layer(f"{path}{name}", layer, flow)
        return found, flow

    def _block(self, block: Block, flow: Flow, path: str) -> tuple[Block, Flow]:
        match block:
            case Residual():
                branch, one = self._part(block.branch, flow, f"{path}branch.")
                shortcut, other = self._part(block.shortcut, flow, f"{path}shortcut.")
                return Residual(branch, shortcut), replace(_CURRENT, signed=one.signed or other.signed)
            case Attention():
                body, _ = self._part(block.body, flow, f"{path}body.")
                attention = Attention(body)
                attention.seca = copy.deepcopy(block.seca)
                return attention, _CURRENT
            case Feedback():
                body, out = self._part(block.body, _CURRENT, f"{path}body.")
                feedback, _ = self._part(block.feedback, out, f"{path}feedback.")
                if out.current:
                    raise QuantizationError(
                        f"{path.removesuffix('.')}: expected a recurrence that ends with neurons, got one that hands "
                        "on currents; put neurons at its end"
                    )
                return Feedback(body, feedback), out
            case TemporalConv():
                conv = copy.deepcopy(block)
                conv.synapse, out = self._layer(f"{path}synapse", block.synapse, flow)
                return conv, out
        raise QuantizationError(
            f"{path.removesuffix('.')}: expected a block that can be quantized, got {type(block).__name__}; "
            "see docs/layers.md"
        )

    def _part(self, chain: Chain, flow: Flow, path: str) -> tuple[Layers, Flow]:
        return self.chain(chain.layers.items(), flow, path)

    def _layer(self, path: str, layer: nn.Module, flow: Flow) -> tuple[nn.Module, Flow]:
        match layer:
            case Readout():
                return QuantReadout(layer, **self._learned), _CURRENT
            case nn.Linear() | nn.Conv1d() | nn.Conv2d():
                bits = self._widths.weights(path, OUTER_BITS if self._first else None)
                self._first = False
                return quant_synapse(layer, bits, self._power_of_two), _CURRENT
            case EMPF() | FoldedEMPF():
                bits = self._widths.spikes(path)
                neuron = (
                    QuantEMPF(layer, bits, self._power_of_two)
                    if isinstance(layer, EMPF)
                    else QuantFoldedEMPF(layer, bits, self._power_of_two)
                )
                return neuron, Flow(current=False, signed=False, top=2**bits - 1)
            case MultiLIF():
                most = min(layer.most, 2 ** self._widths.spikes(path) - 1)
                return MultiLIF(layer.lam, layer.theta, most), Flow(current=False, signed=False, top=most)
            case LIF():
                return self._lif(path, layer), Flow(current=False, signed=False, top=1)
            case nn.BatchNorm1d() | nn.BatchNorm2d() | Scale() | SECA():
                return copy.deepcopy(layer), _CURRENT
            case nn.AvgPool1d() | nn.AvgPool2d():
                return copy.deepcopy(layer), _averaged(flow, _area(layer))
            case nn.AdaptiveAvgPool1d() | nn.AdaptiveAvgPool2d():
                return copy.deepcopy(layer), _averaged(flow, self._areas[path])
            case nn.MaxPool1d() | nn.MaxPool2d() | nn.Flatten() | nn.Dropout() | nn.Upsample() | nn.Identity():
                return copy.deepcopy(layer), flow
        raise QuantizationError(
            f"{path}: expected a layer that can be quantized, got {type(layer).__name__}; see docs/layers.md"
        )

    def _lif(self, path: str, layer: LIF) -> nn.Module:
        if (bits := self._widths.spikes(path)) != 1:
            raise QuantizationError(
                f"{path}: expected 1-bit spikes for LIF neurons, got {bits}; pass spikes=1, "
                f"or spikes={{'{path}': 1, 'rest': 4}} beside other neurons"
            )
        return copy.deepcopy(layer)


def _averaged(flow: Flow, area: int) -> Flow:
    """Sums of unsigned integers that fit 8 bits are signals; others are currents."""
    if flow.current or flow.signed or not sums_fit(flow.top, area):
        return Flow(current=True, signed=flow.signed)
    return replace(flow, top=flow.top * area)
