"""Watching the neurons of a network while data runs through it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from edgesnn.models import Network, evaluating, leaves
from edgesnn.neurons.base import Neuron

#: One call of a neuron: its current, its membrane before (None: zero), the time step, and the spikes it emitted.
Observe = Callable[[nn.Module, Tensor, Tensor | None, int, Tensor], Tensor]


def observe(net: Network, batches: Sequence[Tensor], what: Observe) -> dict[str, Tensor]:
    """What every neuron layer did on batches [T, N, ...]: `what` of each call, joined along the batch axis, by path."""
    neurons = {path: layer for path, layer in leaves(net) if isinstance(layer, Neuron)}
    found: dict[str, list[Tensor]] = {path: [] for path in neurons}
    hooks = []
    for path, collected in found.items():

        def hook(module: nn.Module, args: tuple[Tensor, Tensor | None, int], output: tuple[Tensor, Tensor | None],
                 collected: list[Tensor] = collected) -> None:  # fmt: skip
            collected.append(what(module, *args, output[0]))

        hooks.append(neurons[path].register_forward_hook(hook))
    run_hooked(net, batches, hooks)
    return {path: torch.cat(parts) for path, parts in found.items()}


def run_hooked(net: Network, batches: Sequence[Tensor], hooks: Sequence[RemovableHandle]) -> None:
    """Run batches [T, N, ...] in evaluation mode, for what the hooks collect, and remove the hooks."""
    with evaluating(net), torch.no_grad():
        for batch in batches:
            net(batch)
    for handle in hooks:
        handle.remove()
