"""From values to what a network sees at each time step, as functions of tensors. Shapes: T time steps, any others.

`direct` is what `Dataset` batches are; the others are for a user's own loop:

    x = encoders.rate(images / 255, steps=8, generator=torch.Generator().manual_seed(0))
    rule.backward(net, x, y, generator)
"""

import torch
from torch import Tensor

from edgesnn.errors import DataError


def direct(x: Tensor, steps: int) -> Tensor:
    """x[t] = x: the value itself as the current of every step, [...] -> [T, ...] without copies."""
    _check_steps(steps)
    return x.expand(steps, *x.shape)


def rate(x: Tensor, steps: int, generator: torch.Generator) -> Tensor:
    """s[t] = 1 with probability x in [0, 1], drawn for each step: [...] -> [T, ...] of 0 and 1."""
    _check_steps(steps)
    _check_unit(x, "rate")
    return (torch.rand(steps, *x.shape, generator=generator) < x).to(x.dtype)


def latency(x: Tensor, steps: int) -> Tensor:
    """One spike, at step round((1 - x) * (T - 1)): the larger x in [0, 1], the earlier; none for x = 0."""
    _check_steps(steps)
    _check_unit(x, "latency")
    at = torch.round((1 - x) * (steps - 1))
    times = torch.arange(steps).reshape(-1, *[1] * x.dim())
    return ((times == at) & (x > 0)).to(x.dtype)


def delta(x: Tensor, threshold: float) -> Tensor:
    """Send on delta: s[t] = sign(x[t] - r) where |x[t] - r| >= threshold, else 0; then r moves by threshold * s[t].

    [T, ...] -> [T, ...] of -1, 0 and 1, float32 where x is of integers. r starts at x[0], so that the first step is
    silent.
    """
    if not threshold > 0:
        raise DataError(f"delta encoder: expected a threshold above 0, got {threshold}")
    if not x.dim() or not len(x):
        raise DataError(f"delta encoder: expected values [T, ...] of at least 1 time step, got {tuple(x.shape)}")
    x = x.to(torch.result_type(x, 1.0))
    reference, spikes = x[0].clone(), torch.zeros_like(x)
    for t in range(1, len(x)):
        change = x[t] - reference
        spikes[t] = torch.sign(change) * (change.abs() >= threshold)
        reference += threshold * spikes[t]
    return spikes


def _check_steps(steps: int) -> None:
    if not hasattr(steps, "__index__") or steps < 1:
        raise DataError(f"encoder: expected at least 1 time step, a whole number, got {steps}")


def _check_unit(x: Tensor, name: str) -> None:
    if x.numel() and not 0 <= float(x.min()) <= float(x.max()) <= 1:
        raise DataError(
            f"{name} encoder: expected values in [0, 1], got {float(x.min()):g} to {float(x.max()):g}; scale them"
        )
