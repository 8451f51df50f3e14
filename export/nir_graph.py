"""`export.nir`: a network as a NIR file, for another framework or to be read again."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import nir as nir_format
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgesnn.errors import InteropError
from edgesnn.interop import metadata
from edgesnn.interop.conventions import IMPORTERS, convention_of
from edgesnn.interop.to_nir import described, node_of
from edgesnn.layers import BinaryConv2d, BinaryLinear, Readout, binarize, is_binary
from edgesnn.models import Network, evaluating
from edgesnn.neurons import Neuron

Array = NDArray[Any]
Shape = tuple[int, ...]
#: Importers that know sums over windows and no means.
_SUMS = ("norse", "sinabs")
_PASSED = (nn.Dropout, nn.Identity)


@dataclass(frozen=True, eq=False)
class _Synapse:
    """Weights [O, ...] and bias [O] in float64; bits of a weight and the value of its unit [O], where quantized."""

    name: str
    layer: Any
    weight: Array
    bias: Array
    bits: int | None
    scale: Array | None

    def times(self, gain: Array) -> _Synapse:
        """With output o multiplied by gain[o], or all by gain [1]."""
        column = gain.reshape(-1, *[1] * (self.weight.ndim - 1))
        scale = None if self.scale is None else self.scale * gain
        return replace(self, weight=self.weight * column, bias=self.bias * gain, scale=scale)


def nir(net: Network, path: str | Path, convention: str = "edgesnn", **changes: Any) -> nir_format.NIRGraph:
    """Write a float or quantized network as a NIR file.

    Norms are folded into the weights before them; 1-bit and quantized weights are written as the real numbers that they
    stand for. What NIR has no field for, such as graded spikes, bits and the exact neuron, is in the metadata of the
    nodes (`interop.metadata`); `es.from_nir(path, "edgesnn")` reads it.

    Args:
        net: a chain of synapses, norms, neurons, average poolings and flattenings.
        path: the file to write.
        convention: the framework whose importer is to step it, a name of `interop.CONVENTIONS`; "edgesnn" takes all.
        changes: fields of `Convention` that the user sets in the framework after loading, such as `spikes="single"`.

    Raises:
        InteropError: a layer that NIR does not have, a neuron that the framework's importer does not make, or the name
            of a layer with a '/', which a file would lose.
    """
    rules = convention_of(convention, changes, IMPORTERS)
    writer = _Writer(net, rules)
    nodes = writer.nodes()
    names = list(nodes)
    if lost := [name for name in names if "/" in name]:
        raise InteropError(f"{lost[0]}: expected a name without '/', which HDF5 takes for a path; rename the layer")
    graph = nir_format.NIRGraph(nodes, list(pairwise(names)))
    hidden = [synapse for synapse in writer.synapses[1:] if not isinstance(synapse, Readout)]
    binary = bool(hidden) and all(_bits(layer) == 1 or is_binary(layer) for layer in hidden)
    entry = {"version": metadata.VERSION, "convention": asdict(rules), "leak": net.readout.leak}
    entry["weights"] = "binary" if binary else "float"
    if "input" in net.layers:
        quantizer: Any = net.layers["input"]
        entry |= {"input_scale": quantizer.scale, "input_signed": quantizer.signed}
    metadata.write(graph, entry)
    nir_format.write(path, graph, compression=None)  # chunks would be larger than most of what they hold
    return graph


class _Writer:
    def __init__(self, net: Network, convention: Any) -> None:
        self.net, self.convention = net, convention
        self.synapses: list[nn.Module] = []
        self._found: dict[str, nir_format.NIRNode] = {}
        self._last: _Synapse | None = None  # until what is behind it is folded into it
        self._behind: dict[str, nir_format.NIRNode] = {}  # linear nodes since then
        self._share = 1.0  # of a sum over windows, what their mean is

    def nodes(self) -> dict[str, nir_format.NIRNode]:
        """All nodes by name, in order."""
        shapes = _shapes(self.net)
        self._found["input"] = nir_format.Input(np.array(self.net.input_shape))
        before = self.net.input_shape
        for name, layer in self.net.layers.items():
            before = self._layer(name, layer, before, shapes.get(name, before))
        self._finish(np.ones(1))
        return self._found | {"output": nir_format.Output(np.array([self.net.classes]))}

    def _layer(self, name: str, layer: nn.Module, before: Shape, after: Shape) -> Shape:
        match layer:
            case nn.Linear() | nn.Conv2d():
                self._finish(np.ones(1))
                self._last = self._synapse(name, layer)
                self.synapses.append(layer)
            case nn.BatchNorm1d() | nn.BatchNorm2d():
                self._norm(name, layer)
            case Neuron():
                self._neurons(name, layer, after)
            case nn.AvgPool2d() | nn.AdaptiveAvgPool2d():
                self._pool(name, layer, before, after)
            case nn.Flatten():
                self._add(name, nir_format.Flatten({"input": np.array(before)}, 0, -1))
            case _ if isinstance(layer, _PASSED) or hasattr(layer, "calibrated"):
                pass  # the input's quantizer: a NIR file takes real values
            case _:
                raise InteropError(
                    f"{name}: expected a layer that NIR has, got {type(layer).__name__}; use a chain of Linear, "
                    "Conv2d, batch norm, average pooling, Flatten and neurons"
                )
        return after

    def _synapse(self, name: str, layer: Any) -> _Synapse:
        weight, bits, scale = layer.weight.detach(), None, None
        if hasattr(layer, "quant_weight"):
            quantized = layer.quant_weight()
            weight, bits = quantized.value.detach(), int(quantized.bit_width)
            scale = np.broadcast_to(_numpy(quantized.scale).reshape(-1), (len(weight),))
        elif hasattr(layer, "synapses"):  # standardized weights
            weight = layer.synapses().detach()
        elif isinstance(layer, BinaryLinear | BinaryConv2d):
            weight = binarize(layer.weight).detach()
        bias = np.zeros(len(weight)) if layer.bias is None else _numpy(layer.bias)
        share = self._spent()
        return _Synapse(name, layer, _numpy(weight) * share, bias, bits, None if scale is None else scale * share)

    def _spent(self) -> float:
        share, self._share = self._share, 1.0
        return share

    def _norm(self, name: str, norm: Any) -> None:
        if self._last is None or self._behind or norm.running_mean is None:
            raise InteropError(
                f"{name}: expected a norm with statistics right behind a synapse, got another; NIR has no norms, and "
                "this one cannot be folded into weights"
            )
        gain, shift = np.ones(1), np.zeros(1)
        if norm.affine:
            gain, shift = _numpy(norm.weight), _numpy(norm.bias)
        gain = gain / np.sqrt(_numpy(norm.running_var) + norm.eps)
        folded = self._last.times(gain)
        self._last = replace(folded, bias=folded.bias - _numpy(norm.running_mean) * gain + shift)

    def _neurons(self, name: str, neuron: Neuron, shape: Shape) -> None:
        node, gain = node_of(name, neuron, shape, self.convention)
        bits, scale = getattr(neuron, "bits", None), getattr(neuron, "scale", 1.0)
        entry: dict[str, Any] = {"neuron": described(name, neuron)}
        if bits is not None:
            entry |= {"spike_bits": bits, "spike_scale": scale}
        elif hasattr(neuron, "alpha"):
            entry |= {"spike_bits": 1, "spike_scale": 1.0}
        metadata.write(node, entry)
        if self._last is None:
            raise InteropError(f"{name}: expected a synapse before it, got none; put Linear or Conv2d there")
        self._finish(np.array([gain * self._spent()]))
        self._found[name] = node

    def _pool(self, name: str, layer: Any, before: Shape, after: Shape) -> None:
        kernel, stride, padding = (
            (before[1:], before[1:], (0, 0))
            if isinstance(layer, nn.AdaptiveAvgPool2d)
            else map(_pair, (layer.kernel_size, layer.stride, layer.padding))
        )
        whole = isinstance(layer, nn.AvgPool2d) or set(after[1:]) == {1}
        odd = isinstance(layer, nn.AvgPool2d) and (
            layer.ceil_mode or layer.divisor_override or not layer.count_include_pad
        )
        if not whole or odd:
            raise InteropError(f"{name}: expected a plain mean over windows or all pixels, got {layer}; change it")
        sizes = [np.array(sides) for sides in (kernel, stride, padding)]
        if self.convention.name in _SUMS:
            self._share /= float(np.prod(kernel))
            self._add(name, nir_format.SumPool2d(*sizes))
        else:
            self._add(name, nir_format.AvgPool2d(*sizes))

    def _add(self, name: str, node: nir_format.NIRNode) -> None:
        (self._found if self._last is None else self._behind)[name] = node

    def _finish(self, gain: Array) -> None:
        """Write the last synapse, times what is behind it, and the nodes since."""
        if self._last is None:
            return
        synapse = self._last.times(gain)
        weight, bias = synapse.weight.astype(np.float32), synapse.bias.astype(np.float32)
        layer = synapse.layer
        if isinstance(layer, nn.Conv2d):
            if layer.padding_mode != "zeros" or isinstance(layer.padding, str) or layer.groups != 1:
                raise InteropError(  # nir reads the channels of a group as those of the input
                    f"{synapse.name}: expected zero padding in numbers and one group, got {layer.padding!r} and "
                    f"{layer.groups} groups; change the layer"
                )
            node = nir_format.Conv2d(
                None, weight, layer.stride, layer.padding, layer.dilation, layer.groups, bias
            )  # fmt: skip
        else:
            node = nir_format.Affine(weight, bias)
        if synapse.bits is not None and synapse.scale is not None:
            metadata.write(node, {"weight_bits": synapse.bits, "weight_scale": synapse.scale.tolist()})
        self._found[synapse.name] = node
        self._found |= self._behind
        self._last, self._behind = None, {}


def _bits(layer: Any) -> int | None:
    return int(layer.quant_weight().bit_width) if hasattr(layer, "quant_weight") else None


def _shapes(net: Network) -> dict[str, Shape]:
    """What leaves each layer, without batch; blocks are stepped inside and have none."""
    shapes: dict[str, Shape] = {}

    def keep(name: str, output: Any) -> None:
        value = output[0] if isinstance(output, tuple) else output
        shapes[name] = tuple(value.shape[1:])

    hooks = [
        layer.register_forward_hook(lambda _, __, output, name=name: keep(name, output))
        for name, layer in net.layers.items()
    ]
    try:
        with evaluating(net), torch.no_grad():
            net.step(torch.zeros(1, *net.input_shape), {}, 0)
    finally:
        for hook in hooks:
            hook.remove()
    return shapes


def _numpy(tensor: torch.Tensor) -> Array:
    return tensor.detach().cpu().double().numpy()


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value
