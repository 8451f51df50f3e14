"""The walk over the layers of a network, each turned into nodes in its turn."""

from __future__ import annotations

from collections.abc import Iterable

import brevitas.nn as qnn
from torch import nn

from edgesnn.errors import ExportError
from edgesnn.export.builder import BATCH, GraphBuilder
from edgesnn.export.lower.attention import attended
from edgesnn.export.lower.blocks import attention, delayed, feedback, residual
from edgesnn.export.lower.currents import as_current, fold_norm, numpy
from edgesnn.export.lower.neurons import FiringLayer, hidden_layer, neuron, threshold_learns
from edgesnn.export.lower.pooling import average_pool, flatten, max_pool, requantize, upsample
from edgesnn.export.lower.readout import add_readout, readout_layer
from edgesnn.export.lower.synapses import Learns, synapse
from edgesnn.export.lower.values import Current, HiddenLayer, Lowered, ReadoutLayer, Signal, Value, Weights
from edgesnn.export.scopes import parse
from edgesnn.layers import SECA, Scale, TemporalConv
from edgesnn.models import Attention, Block, Chain, Feedback, Network, Residual, leaves
from edgesnn.neurons import LIF, MultiLIF
from edgesnn.neurons.base import Neuron
from edgesnn.quant import QuantCurrent, QuantEMPF, QuantFoldedEMPF, QuantInput, QuantReadout
from edgesnn.runtime.graph import NEW


def lower(qnet: Network, learn: str | None) -> Lowered:
    """Nodes, constants and persistent tensors of one time step, for what the device may learn.

    With `means`, the graph ends in front of the readout: class means take its place.

    Raises:
        ExportError: a layer, or an order of layers, that has no integer form.
    """
    builder, steps = GraphBuilder(), _parameter_steps(qnet)
    if steps > 1:
        builder.state("t", (1,), batched=False)
        builder.call("NextStep", "t.next", ["t"], ["t" + NEW], steps=steps)
    walk = _Walk(qnet, learn, builder)
    walk.layers(builder, qnet.layers.items(), "", None)
    if walk.input is None or walk.readout is None:
        raise ExportError("network: expected a readout as its last layer, got none; end it with layers.Readout")
    return Lowered(builder, walk.input, walk.readout, steps, tuple(walk.hidden))


class _Walk:
    """Lowers layers in order; remembers the input, the readout, and the hidden layers that learning may reach.

    A hidden layer is a layer of neurons with the synapses since the neurons before it.
    """

    def __init__(self, qnet: Network, learn: str | None, builder: GraphBuilder) -> None:
        shape = qnet.input_shape
        self._shape = (shape[0], 1, shape[1]) if len(shape) == 2 else shape  # of rows over time: images of height 1
        self._builder = builder
        self._layers = sum(isinstance(layer, FiringLayer) for _, layer in leaves(qnet))
        self._scope = parse(learn, self._layers)
        self._synapses: list[Weights] = []
        self.input: Signal | None = None
        self.readout: ReadoutLayer | None = None
        self.hidden: list[HiddenLayer] = []

    def chain(self, builder: GraphBuilder, chain: Chain, path: str, value: Value) -> Value:
        """`LowerChain` of the blocks."""
        return _there(path, self.layers(builder, chain.layers.items(), path, value))

    def layers(
        self, builder: GraphBuilder, layers: Iterable[tuple[str, nn.Module]], path: str, value: Value | None
    ) -> Value | None:
        """What the layers make of the value before them; None where nothing comes before, or after."""
        for name, layer in layers:
            value = self._layer(builder, f"{path}{name}", layer, value)
        return value

    def _layer(self, builder: GraphBuilder, name: str, layer: nn.Module, value: Value | None) -> Value | None:
        if isinstance(layer, QuantInput) and not isinstance(layer, QuantCurrent):
            self.input = self._input(builder, layer)
            return self.input
        value = _there(name, value)
        match layer:
            case Block():
                return self._block(builder, name, layer, value)
            case QuantReadout():
                self._readout(builder, name, layer, _signal(name, value))
                return None
            case qnn.QuantLinear() | qnn.QuantConv1d() | qnn.QuantConv2d():
                return self._synapse(builder, name, layer, _signal(name, value))
            case QuantEMPF() | QuantFoldedEMPF() | LIF() | MultiLIF():
                return self._neuron(builder, name, layer, as_current(builder, name, value))
            case QuantCurrent():
                return requantize(builder, name, layer, as_current(builder, name, value))
            case nn.BatchNorm1d() | nn.BatchNorm2d():
                return fold_norm(name, layer, as_current(builder, name, value))
            case Scale():
                gain = 1.0 if layer.gain is None else float(numpy(layer.gain))
                return as_current(builder, name, value).scaled(layer.factor * gain)
            case SECA():
                return attended(builder, name, layer, as_current(builder, name, value), None)
            case nn.MaxPool1d() | nn.MaxPool2d():
                return max_pool(builder, name, layer, _signal(name, value))
            case nn.AvgPool1d() | nn.AvgPool2d() | nn.AdaptiveAvgPool1d() | nn.AdaptiveAvgPool2d():
                return average_pool(builder, name, layer, value)
            case nn.Upsample():
                return upsample(builder, name, layer, _signal(name, value))
            case nn.Flatten():
                return flatten(builder, name, value)
            case nn.Dropout() | nn.Identity():
                return value
        raise ExportError(
            f"{name}: expected a layer with an integer form, got {type(layer).__name__}; "
            "see the table of layers in docs/layers.md"
        )

    def _block(self, builder: GraphBuilder, name: str, block: Block, value: Value) -> Value:
        match block:
            case Residual():
                return residual(builder, name, block, value, self.chain)
            case Feedback():
                return feedback(builder, name, block, value, self.chain)
            case Attention():
                return attention(builder, name, block, value, self.chain)
            case TemporalConv():
                taps = delayed(builder, name, block, _signal(name, value))
                return self._synapse(builder, f"{name}.synapse", block.synapse, taps)
        raise ExportError(
            f"{name}: expected a block with an integer form, got {type(block).__name__}; see docs/layers.md"
        )

    def _synapse(self, builder: GraphBuilder, name: str, layer: nn.Module, signal: Signal) -> Current:
        """Learning goes back through all synapses behind the first layer whose threshold learns."""
        left = self._layers - len(self.hidden)
        learns = Learns(0 < left <= self._scope.weights, left < self._scope.thresholds)
        current, weights = synapse(builder, name, layer, signal, learns)
        if builder is self._builder:
            self._synapses.append(weights)
        return current

    def _neuron(self, builder: GraphBuilder, name: str, layer: FiringLayer, current: Current) -> Signal:
        """A hidden layer, but in a body of `Feedback` that is lowered to see what it becomes."""
        learns = self._layers - len(self.hidden) <= self._scope.thresholds and threshold_learns(layer)
        spikes = neuron(builder, name, layer, current, trainable=learns)
        if builder is self._builder:
            self.hidden.append(hidden_layer(name, layer, self._synapses))
            self._synapses = []
        return spikes

    def _readout(self, builder: GraphBuilder, name: str, layer: QuantReadout, signal: Signal) -> None:
        learns = self._scope.readout or self._scope.means
        if learns and signal.low < 0:
            raise ExportError(
                f"{name}: expected a readout of spikes to learn, got one of currents; export it without learning, or "
                "put neurons before it"
            )
        self.readout = readout_layer(builder, name, layer, signal)
        if not self._scope.means:
            add_readout(builder, name, layer, self.readout, trainable=self._scope.readout)

    def _input(self, builder: GraphBuilder, layer: QuantInput) -> Signal:
        dtype, low, high = ("int8", -128, 127) if layer.signed else ("uint8", 0, 255)
        builder.input("x", dtype, [BATCH, *self._shape])
        return Signal("x", layer.scale, low, high, self._shape)


def _there(name: str, value: Value | None) -> Value:
    if value is None:
        raise ExportError(
            f"{name}: expected the input quantizer before it, got no input; quantize with edgesnn.quantize"
        )
    return value


def _signal(name: str, value: Value) -> Signal:
    if isinstance(value, Current):
        raise ExportError(
            f"{name}: expected a neuron after {value.terms[0].layer}, got a layer that needs spikes; "
            "put a neuron between them"
        )
    return value


def _parameter_steps(qnet: Network) -> int:
    """T where neurons have parameters per time step, else 1."""
    tables = [
        values
        for _, layer in leaves(qnet)
        if isinstance(layer, Neuron)
        for values in (layer.lam_values(), layer.theta_values())
    ]
    lengths = {len(values) for values in tables} - {1}
    if len(lengths) > 1:
        raise ExportError(
            f"network: expected one number of time steps in all neurons, got {sorted(lengths)}; "
            "give every neuron the same `steps`"
        )
    return lengths.pop() if lengths else 1
