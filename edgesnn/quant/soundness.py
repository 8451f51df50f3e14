"""What must hold of a network's numbers before they become integers."""

from __future__ import annotations

import torch
from torch import nn

from edgesnn.errors import QuantizationError
from edgesnn.models import Network, leaves
from edgesnn.neurons import Neuron


def check_sound(net: Network) -> None:
    """Raises QuantizationError, naming the layer, for numbers that are not finite, and for layers that share weights.

    A shared layer would become two on the device, and learning, or training on, would change one of them.
    """
    for path, layer in leaves(net):
        for name, values in (*layer.named_parameters(), *layer.named_buffers()):
            if name == "lam_raw":
                values = torch.sigmoid(values)  # that of a leak of exactly 0 or 1 is infinite
            if not torch.isfinite(values).all():
                wrong = float(values.detach()[~torch.isfinite(values)].flatten()[0])
                raise QuantizationError(
                    f"{path}: expected finite numbers, got {wrong} in {name}; train again with a smaller learning "
                    "rate, or go back to a checkpoint"
                )
    owners: dict[int, str] = {}
    for path, module in net.named_modules(remove_duplicate=False):
        shared = module.weight if isinstance(module, nn.Linear | nn.Conv2d) else module
        if shared is not module or isinstance(module, Neuron):
            name = ".".join(part for part in path.split(".") if part != "layers")
            owner = owners.setdefault(id(shared), name)
            if owner != name:
                what = "neurons" if shared is module else "weights"
                raise QuantizationError(
                    f"{name}: expected {what} of its own, got those of {owner}; give each layer its own module, "
                    "copy.deepcopy makes one"
                )
