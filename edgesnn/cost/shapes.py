"""The shapes that costs are computed from: a network without weights, cut into units, one step run on no data."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgesnn import models
from edgesnn.layers import is_binary
from edgesnn.models import Chain, Feedback, Network
from edgesnn.models.units import SYNAPSES
from edgesnn.neurons import LIF, Neuron
from edgesnn.rules.base import detached


@dataclass(frozen=True)
class Synapse:
    """A convolution or fully connected layer; counts for one sample and one time step.

    weights: |W|. inputs: presynaptic values. macs: M = |W| * positions, the work of a dense evaluation (TT-LBP, below
    eq. 15). error_passes: whether a gradient goes back through it inside of its unit, not so where it reads the unit's
    input. recurrent: it reads the output of the time step before.
    """

    name: str
    weights: int
    binary: bool
    inputs: int
    macs: int
    error_passes: bool
    recurrent: bool


@dataclass(frozen=True)
class Unit:
    """What one layer is in TT-LBP: a unit of `models.units`.

    neurons: |U|, values that neurons emit. features: values that leave the unit, which a local classifier would see.
    """

    name: str
    synapses: tuple[Synapse, ...]
    neurons: int
    features: int

    @property
    def weights(self) -> int:
        return sum(synapse.weights for synapse in self.synapses)

    @property
    def macs(self) -> int:
        return sum(synapse.macs for synapse in self.synapses)


def on_meta(net: Network) -> Network:
    """A copy without values: every parameter and buffer on the meta device."""
    memo: dict[int, Tensor] = {}
    for parameter in net.parameters():
        empty = torch.empty_like(parameter, device="meta")
        memo[id(parameter)] = nn.Parameter(empty, parameter.requires_grad)
    for buffer in net.buffers():
        memo[id(buffer)] = torch.empty_like(buffer, device="meta")
    return copy.deepcopy(net, memo)


def units(net: Network) -> list[Unit]:
    """The units of `models.units`, the readout last."""
    net = on_meta(net).eval()
    x = torch.empty(1, *net.input_shape, device="meta")
    found = []
    for name, chain in models.units(net).items():
        unit, x = _measured(name, chain, x)
        found.append(unit)
    return found


def graded(net: Network) -> bool:
    """Whether some spikes are numbers other than 0 and 1."""
    return any(isinstance(layer, Neuron) and not isinstance(layer, LIF) for layer in net.modules())


def _measured(name: str, chain: Chain, x: Tensor) -> tuple[Unit, Tensor]:
    synapses: dict[str, Synapse] = {}
    neurons: dict[nn.Module, int] = {}
    feedbacks = [block.feedback for block in chain.modules() if isinstance(block, Feedback)]
    recurrent = {layer for feedback in feedbacks for layer in feedback.modules()}

    def synapse_ran(path: str, layer: nn.Linear | nn.Conv2d, inputs: Tensor, output: Tensor) -> None:
        weights = layer.weight.numel()
        positions = output[0].numel() // output.shape[1]
        synapses[path] = Synapse(
            name=path,
            weights=weights,
            binary=is_binary(layer),
            inputs=inputs[0].numel(),
            macs=weights * positions,
            error_passes=inputs.requires_grad,
            recurrent=layer in recurrent,
        )

    def neuron_ran(layer: nn.Module, spikes: Tensor) -> None:
        neurons[layer] = spikes.numel()

    hooks = []
    for path, layer in chain.layers.named_modules():
        if isinstance(layer, SYNAPSES):
            hooks.append(layer.register_forward_hook(lambda m, i, o, path=path: synapse_ran(path, m, i[0], o)))
        elif isinstance(layer, Neuron):
            hooks.append(layer.register_forward_hook(lambda m, _, o: neuron_ran(m, o[0])))
    _, state = chain.step(x.detach(), {}, 0)
    output, _ = chain.step(x.detach(), detached(state), 1)  # from now on what reads the step before runs too
    for hook in hooks:
        hook.remove()
    return Unit(name, tuple(synapses.values()), sum(neurons.values()), output.numel()), output
