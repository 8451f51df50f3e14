"""Silent and saturated neurons: what calibration or training left unused or clipped."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from edgesnn.models import Network
from edgesnn.models.network import is_neuron
from edgesnn.quant.layers import QuantEMPF


@dataclass(frozen=True)
class LayerHealth:
    """Activity of one layer of neurons over a sample of the data.

    silent: fraction of neurons that never emit. saturated: fraction whose spikes are at the top of the range in more
    than half of the steps (graded spikes only). rate: mean fraction of (neuron, step) pairs that emit.
    """

    name: str
    silent: float
    saturated: float
    rate: float


def health(qnet: Network, batches: list[Tensor]) -> list[LayerHealth]:
    """Activity of every spiking layer of a quantized network on batches [T, N, ...]."""
    seen: dict[str, list[Tensor]] = {}
    hooks = []
    for name, layer in qnet.layers.items():
        if is_neuron(name):
            collected = seen.setdefault(name, [])
            hooks.append(
                layer.register_forward_hook(
                    lambda _module, _args, output, collected=collected: collected.append(output[0].detach())
                )
            )
    training = qnet.training
    qnet.eval()
    with torch.no_grad():
        for batch in batches:
            qnet(batch)
    qnet.train(training)
    for handle in hooks:
        handle.remove()
    return [_summary(name, qnet.layers[name], torch.cat(parts)) for name, parts in seen.items()]


def _summary(name: str, layer: torch.nn.Module, spikes: Tensor) -> LayerHealth:
    active = spikes > 0
    top = layer.scale * (2**layer.bits - 1) if isinstance(layer, QuantEMPF) else float("inf")
    clipped = (spikes >= top * (1 - 1e-6)).float().mean(0) > 0.5
    return LayerHealth(
        name, float((~active.any(0)).float().mean()), float(clipped.float().mean()), float(active.float().mean())
    )
