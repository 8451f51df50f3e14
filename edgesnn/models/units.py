"""A network cut into what counts as one layer where layers are counted, trained by themselves, or priced."""

from collections.abc import Sequence
from typing import TypeVar

from torch import nn

from edgesnn.models.blocks import Chain
from edgesnn.models.network import Network
from edgesnn.neurons import Neuron

#: Layers with weights that a signal meets, of whatever subclass.
SYNAPSES = (nn.Linear, nn.Conv1d, nn.Conv2d)
Item = TypeVar("Item")


def units(net: Network) -> dict[str, Chain]:
    """Chains of the network's own layers, in order, which together are the network.

    A unit reaches from one layer with synapses to before the next, past whatever fires: conv, norm, neuron, pool is one
    unit, and so is a residual block with the neurons behind it. Neurons before all synapses belong to the first. The
    readout is the last, without neurons. Each has the name of its first layer with synapses. State of the network is
    that of its units joined.
    """
    groups: list[dict[str, nn.Module]] = [{}]
    names: list[str] = []
    fires = False
    for name, layer in net.layers.items():
        if any(isinstance(module, SYNAPSES) for module in layer.modules()):
            if fires and names:
                groups.append({})
            if len(names) < len(groups):
                names.append(name)
            fires = False
        fires |= any(isinstance(module, Neuron) for module in layer.modules())
        groups[-1][name] = layer
    return {name: Chain(group) for name, group in zip(names, groups, strict=True)}


def in_blocks(hidden: Sequence[Item], n: int | None) -> list[list[Item]]:
    """The hidden units in local blocks of n (None: one block), as TT-LBP trains them; the last may be smaller.

    The readout belongs to the last block, so that there is one also where there is no hidden unit.
    """
    size = n or max(len(hidden), 1)
    return [[*hidden[i : i + size]] for i in range(0, len(hidden), size)] or [[]]
