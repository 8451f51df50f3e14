"""The network that training costs are measured on: conv 32-32-64-64, two maximum poolings, a readout; no norm."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from edgesnn.models import Network

IMAGE, CHANNELS, CLASSES, BATCH = (1, 28, 28), (32, 32, 64, 64), 10, 32
#: Methods by name in the tables: rule, neuron, weights.
METHODS = {
    "bptt": ("bptt", "lif", "float"),
    "sltt": ("sltt", "lif", "float"),
    "sltt1": ("sltt:1", "lif", "float"),
    "empf": ("sltt:1", "empf", "binary"),
}


def network(neuron: str, weights: str) -> Network:
    """neuron "lif" (leak 0.5), or "empf" with a leak of 0.5 that is not trained, so that only spikes are kept of it."""
    import torch
    from torch import nn

    from edgesnn import neurons
    from edgesnn.layers import BinaryConv2d, Conv2d, Readout
    from edgesnn.models import Network

    layers: dict[str, nn.Module] = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        width = IMAGE[0]
        for i, channels in enumerate(CHANNELS, start=1):
            convolution = BinaryConv2d if weights == "binary" and i > 1 else Conv2d
            layers[f"conv{i}"] = convolution(width, channels, 3, padding=1)
            layers[f"neuron{i}"] = neurons.build({"kind": neuron, "lam": 0.5})
            if i % 2 == 0:
                layers[f"pool{i}"] = nn.MaxPool2d(2)
            width = channels
        layers["flatten"] = nn.Flatten(1)
        layers["readout"] = Readout(width * (IMAGE[1] // 4) * (IMAGE[2] // 4), CLASSES)
    net = Network(layers, {}, IMAGE, CLASSES)
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(not name.endswith("lam_raw"))
    return net


def batch(steps: int) -> tuple[Tensor, Tensor]:
    """x [T, N, 1, 28, 28], an image that stands still, and labels."""
    import torch

    generator = torch.Generator().manual_seed(0)
    x = torch.rand(BATCH, *IMAGE, generator=generator)
    return x.expand(steps, *x.shape), torch.randint(CLASSES, (BATCH,), generator=generator)
