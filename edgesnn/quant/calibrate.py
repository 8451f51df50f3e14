"""Calibration: choose the ranges of inputs and spikes from the activity of the float network on training data."""

from __future__ import annotations

import torch
from torch import Tensor

from edgesnn.models import Network
from edgesnn.neurons import EMPF
from edgesnn.quant.layers import QuantEMPF, QuantInput, set_range

#: Candidate ranges, as fractions of the largest value seen.
_FRACTIONS = torch.linspace(0.1, 1.0, 46)
_SAMPLES = 200_000


def calibrate(qnet: Network, net: Network, batches: list[Tensor]) -> None:
    """Set every range of `qnet` from what `net` does on `batches` [T, N, ...].

    A range minimizes the squared rounding and clipping error, of |x| for the input and of relu(m - theta) for spikes:
    it stays sensible when single values are far larger than the rest.
    """
    drives = _drives(net, batches)
    for name, layer in qnet.layers.items():
        match layer:
            case QuantInput():
                values = torch.cat([batch.abs().flatten() for batch in batches])
                set_range(layer, best_range(values, 7 if layer.signed else 8))
            case QuantEMPF():
                set_range(layer, best_range(drives[name], layer.bits))


def best_range(values: Tensor, bits: int) -> float:
    """argmin over ranges r of sum (x - r/n * clamp(round(x n / r), 0, n))^2 for x = relu(values), n = 2^bits - 1."""
    positive = values[values > 0]
    if positive.numel() == 0:
        return 0.0
    top = 2**bits - 1
    candidates = _FRACTIONS * positive.max()
    errors = [
        ((positive - r / top * torch.clamp(torch.round(positive * top / r), 0, top)) ** 2).sum() for r in candidates
    ]
    return float(candidates[int(torch.stack(errors).argmin())])


def _drives(net: Network, batches: list[Tensor]) -> dict[str, Tensor]:
    """m - theta of every EM-PF neuron over the batches, at most `_SAMPLES` values each."""
    found: dict[str, list[Tensor]] = {}
    hooks = []

    def record(name: str, neuron: EMPF) -> None:
        def hook(_module: torch.nn.Module, args: tuple[Tensor, Tensor | None, int], _output: object) -> None:
            current, v, t = args
            theta = neuron.theta_values()[t % len(neuron.theta_values())]
            lam = neuron.lam_values()[t % len(neuron.lam_values())]
            m = current if v is None else lam * v + current
            found.setdefault(name, []).append((m - theta).flatten())

        hooks.append(neuron.register_forward_hook(hook))

    for name, layer in net.layers.items():
        if isinstance(layer, EMPF):
            record(name, layer)
    training = net.training
    net.eval()
    with torch.no_grad():
        for batch in batches:
            net(batch)
    net.train(training)
    for handle in hooks:
        handle.remove()
    generator = torch.Generator().manual_seed(0)
    joined = {name: torch.cat(parts) for name, parts in found.items()}
    return {
        name: values[torch.randint(len(values), (min(len(values), _SAMPLES),), generator=generator)]
        for name, values in joined.items()
    }
