"""`es.from_nir`: a network that another framework wrote as NIR, as one of ours, which quantization and export take."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nir
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgesnn.errors import InteropError
from edgesnn.interop import metadata
from edgesnn.interop.conventions import Convention, convention_of, recorded_convention
from edgesnn.interop.graph import NirChain, read_chain
from edgesnn.interop.neurons import Dynamics, leak_and_gain, spiking
from edgesnn.models import Network, sequence

Array = NDArray[Any]
SUPPORTED = ("Affine", "AvgPool2d", "Conv2d", "Flatten", "I", "IF", "LI", "LIF", "Linear", "SumPool2d")


@dataclass(frozen=True, eq=False)
class _Synapse:
    """A description for `models.sequence`, with weights [O, ...] and bias [O] in float64."""

    description: dict[str, Any]
    weight: Array
    bias: Array | None

    def times(self, gain: Array) -> _Synapse:
        """With every output multiplied by gain [1] or [O]."""
        column = gain.reshape(-1, *[1] * (self.weight.ndim - 1))
        return replace(self, weight=self.weight * column, bias=None if self.bias is None else self.bias * gain)


def from_nir(
    source: str | Path | nir.NIRGraph, convention: str, *, leak: float | None = None, **changes: Any
) -> Network:
    """A network from a NIR file or graph.

    Its last layer is a readout: the file's last linear layer, with the leak of a leaky integrator (LI) behind it; or,
    where the file ends with neurons, their spikes counted by class.

    Args:
        source: a file, or what `nir.read` made of it.
        convention: the framework that wrote it, a name of `CONVENTIONS`: the file doesn't tell how its neurons are
            stepped. Files of `export.nir` are read exactly with "edgesnn", whatever they were written for.
        leak: of the readout, where the file has none (default 1: all steps count alike).
        changes: fields of `Convention` in which the network differs from the framework's default, such as
            `reset="zero"` for snnTorch or `spikes="single"` for sinabs.

    Raises:
        InteropError: a file that cannot be read, a primitive that is not supported, or values that our layers do not
            have, with the node's name.
    """
    chain, rules = read_chain(source), convention_of(convention, changes)
    own: dict[str, Any] = {}
    if convention == "edgesnn":
        own = _own(chain)
        rules = recorded_convention(own.get("convention"), chain.place)
    reader = _Reader(chain, rules, exact=bool(own))
    for name, node in chain.nodes:
        reader.add(name, node)
    readout = reader.readout()
    leaks = (reader.leak, leak, own.get("leak"), 1.0)
    net = sequence(
        chain.input_shape, reader.descriptions, len(readout.weight), weights=own.get("weights", "float"),
        leak=next(float(value) for value in leaks if value is not None),
    )  # fmt: skip
    _load(net, [*reader.synapses.values(), readout])
    return net.eval()


def _own(chain: NirChain) -> dict[str, Any]:
    """What edgesnn wrote into the graph's metadata."""
    entry = metadata.read(chain.graph, chain.place)
    if not entry:
        raise InteropError(
            f"{chain.place}: expected a file that edgesnn wrote, with the metadata '{metadata.KEY}', got none; name "
            "the framework that wrote it"
        )
    if not isinstance(entry.get("leak", 1.0), int | float):
        raise InteropError(
            f"{chain.place}: expected a number as leak in the metadata, got {entry['leak']!r}; write it again"
        )
    return entry


class _Reader:
    """Descriptions of layers so far, the synapses among them, and the leak of an integrator at the end."""

    def __init__(self, chain: NirChain, convention: Convention, exact: bool) -> None:
        self._place, self._last = chain.place, chain.nodes[-1][0] if chain.nodes else ""
        self._convention, self._exact = convention, exact  # exact: neurons are those of the metadata
        self.descriptions: list[dict[str, Any]] = []
        self.synapses: dict[int, _Synapse] = {}  # by place in `descriptions`
        self.leak: float | None = None
        self._sums = 1.0  # what sums over windows are larger than their means, of the layers since the last synapse

    def add(self, name: str, node: nir.NIRNode) -> None:
        place = f"{self._place}, node {name}"
        match node:
            case nir.Affine() | nir.Linear():
                self._add_synapse(place, {"kind": "linear"}, node.weight, getattr(node, "bias", None), 2)
            case nir.Conv2d():
                self._add_synapse(place, _convolution(place, node), node.weight, node.bias, 4)
            case nir.LIF() | nir.IF():
                self._add_neurons(place, self._dynamics(place, node))
            case nir.LI() | nir.I() if name == self._last:
                self._add_integrator(place, node)
            case nir.SumPool2d() | nir.AvgPool2d():
                self._add_pool(node)
            case nir.Flatten():
                self.descriptions.append({"kind": "flatten"})
            case nir.LI() | nir.I():
                raise InteropError(f"{place}: expected {type(node).__name__} as the last node alone; put neurons there")
            case _:
                raise InteropError(
                    f"{place}: expected one of {', '.join(SUPPORTED)}, got {type(node).__name__}; replace it, and train"
                )

    def readout(self) -> _Synapse:
        """The last synapse, or one that counts the spikes of the last neurons; no longer among `synapses`."""
        last = self.descriptions[-1] if self.descriptions else {}
        if last.get("kind") == "linear":
            self.descriptions.pop()
            return self.synapses.pop(len(self.descriptions))
        if last.get("kind") in ("conv", "average_pool", "flatten", None):
            raise InteropError(
                f"{self._place}: expected a linear layer or neurons before its output, got {last.get('kind')}; "
                "end it with a linear layer"
            )
        classes = next((len(synapse.weight) for synapse in reversed(self.synapses.values())), 0)
        return _Synapse({"kind": "linear"}, np.eye(classes), np.zeros(classes))

    def _add_synapse(self, place: str, description: dict[str, Any], weight: Any, bias: Any, axes: int) -> None:
        weight = _finite(place, "weights", weight)
        if weight.ndim != axes:
            raise InteropError(f"{place}: expected weights of {axes} axes, got shape {weight.shape}; write it again")
        description |= {"outputs": len(weight), "bias": bias is not None}
        offset = None if bias is None else _finite(place, "biases", bias).reshape(len(weight))
        self.synapses[len(self.descriptions)] = _Synapse(description, weight * self._sums, offset)
        self.descriptions.append(description)
        self._sums = 1.0

    def _dynamics(self, place: str, node: nir.LIF | nir.IF) -> Dynamics:
        if not self._exact:
            return spiking(place, node, self._convention)
        neuron = metadata.read(node, place).get("neuron")
        if not isinstance(neuron, dict):
            raise InteropError(
                f"{place}: expected the metadata '{metadata.KEY}' to have a neuron, got none; write the file again"
            )
        return Dynamics(neuron, leak_and_gain(place, node, self._convention)[1])

    def _add_neurons(self, place: str, dynamics: Dynamics) -> None:
        self._scale_current(place, dynamics.gain)
        self.descriptions.append(dynamics.neuron)

    def _add_integrator(self, place: str, node: nir.LI | nir.I) -> None:
        self.leak, gain = leak_and_gain(place, node, self._convention)
        if isinstance(node, nir.LI) and np.any(node.v_leak):
            raise InteropError(f"{place}: expected v_leak = 0, got others; train with 0")
        self._scale_current(place, gain)

    def _scale_current(self, place: str, gain: Array) -> None:
        """Multiply the current that arrives: fold it into the last synapse, as all behind that is linear."""
        kinds = [description["kind"] for description in self.descriptions]
        at = max(self.synapses, default=-1)
        if at < 0 or any(kind not in ("average_pool", "flatten") for kind in kinds[at + 1 :]):
            raise InteropError(f"{place}: expected a synapse before it, got none; put a linear layer or Conv2d there")
        if len(gain) > 1 and "flatten" in kinds[at:]:
            raise InteropError(
                f"{place}: expected one threshold and resistance behind a Flatten, got {len(gain)}; use a single one"
            )
        self.synapses[at] = self.synapses[at].times(_finite(place, "resistances", gain) * self._sums)
        self._sums = 1.0

    def _add_pool(self, node: nir.SumPool2d | nir.AvgPool2d) -> None:
        kernel = _pair(node.kernel_size)
        if isinstance(node, nir.SumPool2d):
            self._sums *= kernel[0] * kernel[1]
        self.descriptions.append(
            {"kind": "average_pool", "kernel": kernel, "stride": _pair(node.stride), "padding": _pair(node.padding)}
        )


def _finite(place: str, what: str, values: Any) -> Array:
    """Numbers of a file, which float32 holds as well.

    Raises:
        InteropError: NaN, an infinity, or beyond float32.
    """
    array = np.asarray(values, np.float64)
    wrong = array[~(np.abs(array) <= np.finfo(np.float32).max)]
    if wrong.size:
        raise InteropError(f"{place}: expected {what} that are finite numbers, got {wrong[0]:g}; train it again")
    return array


def _convolution(place: str, node: nir.Conv2d) -> dict[str, Any]:
    kernel, dilation, stride = list(np.shape(node.weight)[2:]), _pair(node.dilation), _pair(node.stride)
    padding = node.padding.decode() if isinstance(node.padding, bytes) else node.padding
    if isinstance(padding, str) and padding == "same":
        spread = [step * (side - 1) for step, side in zip(dilation, kernel, strict=True)]
        if stride != [1, 1] or any(side % 2 for side in spread):
            raise InteropError(
                f"{place}: expected numbers of pixels as padding, got 'same' with {kernel}; give numbers"
            )
        padding = [side // 2 for side in spread]
    padding = [0, 0] if isinstance(padding, str) else _pair(padding)
    geometry = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    return {"kind": "conv", **geometry, "groups": int(np.ravel(node.groups)[0])}


def _pair(values: Any) -> list[int]:
    """One number or two as [rows, columns]."""
    sides = [int(side) for side in np.ravel(values)]
    return sides * 2 if len(sides) == 1 else sides


def _load(net: Network, synapses: list[_Synapse]) -> None:
    """Put the weights into the network's synapses, in order."""
    layers = [layer for layer in net.layers.values() if isinstance(layer, nn.Linear | nn.Conv2d)]
    with torch.no_grad():
        for layer, synapse in zip(layers, synapses, strict=True):
            if tuple(layer.weight.shape) != synapse.weight.shape:
                raise InteropError(
                    f"weights: expected shape {tuple(layer.weight.shape)} for what arrives, got "
                    f"{synapse.weight.shape}; export the network again"
                )
            layer.weight.copy_(torch.from_numpy(synapse.weight))
            if layer.bias is not None:
                layer.bias.copy_(torch.from_numpy(np.zeros(1) if synapse.bias is None else synapse.bias))
