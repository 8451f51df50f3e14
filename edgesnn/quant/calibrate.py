"""Calibration: choose the ranges of inputs and spikes from the activity of the float network on training data."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edgesnn.models import Network
from edgesnn.neurons import EMPF
from edgesnn.neurons.base import at_step
from edgesnn.quant.activity import observe
from edgesnn.quant.layers import QuantEMPF, QuantInput, set_range

#: Candidate ranges, as fractions of the largest value seen.
_FRACTIONS = torch.linspace(0.1, 1.0, 46)
_SAMPLES = 200_000


def calibrate(qnet: Network, net: Network, batches: Sequence[Tensor]) -> None:
    """Set every range of `qnet` from what `net` does on `batches` [T, N, ...].

    A range minimizes the squared rounding and clipping error, of |x| for the input and of relu(m - theta) for spikes:
    it stays sensible when single values are far larger than the rest.
    """
    drives = observe(net, batches, _drive)
    for name, layer in qnet.layers.items():
        match layer:
            case QuantInput():
                values = torch.cat([batch.abs().flatten() for batch in batches])
                set_range(layer, best_range(values, 7 if layer.signed else 8), name)
            case QuantEMPF():
                set_range(layer, best_range(_sample(drives[name]), layer.bits), name)


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


def _drive(neuron: nn.Module, current: Tensor, v: Tensor | None, t: int, _spikes: Tensor) -> Tensor:
    """m - theta of an EM-PF neuron, flattened; nothing for others, whose spikes have no range."""
    if not isinstance(neuron, EMPF):
        return current.new_empty(0)
    m = current if v is None else at_step(neuron.lam_values(), t) * v + current
    return (m - at_step(neuron.theta_values(), t)).flatten()


def _sample(values: Tensor) -> Tensor:
    """At most `_SAMPLES` of the values, drawn with a fixed seed."""
    drawn = torch.randint(len(values), (min(len(values), _SAMPLES),), generator=torch.Generator().manual_seed(0))
    return values[drawn]
