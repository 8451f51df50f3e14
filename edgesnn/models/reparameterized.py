"""A network of version II neurons, turned into version I for inference."""

import copy
from typing import TypeVar

from edgesnn.errors import ConfigError
from edgesnn.models.blocks import chains
from edgesnn.models.network import Network
from edgesnn.neurons import MembraneNormEMPF

Net = TypeVar("Net", bound=Network)


def reparameterize(net: Net) -> Net:
    """A copy in which every EM-PF neuron of version II is the version I that computes the same in evaluation mode
    (EM-PF eq. 8). Raises ConfigError for a network without such neurons.
    """
    net = copy.deepcopy(net)
    found = False
    for chain in chains(net):
        for name, layer in chain.layers.items():
            if isinstance(layer, MembraneNormEMPF):
                chain.layers[name] = layer.reparameterize()
                found = True
    if not found:
        raise ConfigError(
            f"reparameterize: expected MembraneNormEMPF neurons, got none in '{net.config.get('model')}'; "
            "a network of other neurons needs no such step"
        )
    net.config["reparameterized"] = True
    return net
