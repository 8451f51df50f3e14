"""Mixed precision: synapses multiply in bfloat16; membranes, weights and the optimizer stay float32."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from edgesnn.neurons import Neuron
from edgesnn.neurons.base import widened

PRECISIONS = ("float32", "bfloat16")


@contextmanager
def multiplied_in(net: nn.Module, precision: str) -> Iterator[None]:
    """Within it, synapses of `net` multiply in this precision, forward and backward.

    A membrane sums many small currents, which bfloat16 would lose, so currents are `widened` before neurons.
    """
    if precision == PRECISIONS[0]:
        yield
        return
    neurons = [module for module in net.modules() if isinstance(module, Neuron)]
    hooks = [neuron.register_forward_pre_hook(widened) for neuron in neurons]
    device = next(net.parameters()).device.type
    try:
        with torch.autocast(device, torch.bfloat16):
            yield
    finally:
        for hook in hooks:
            hook.remove()
