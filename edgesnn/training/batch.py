"""One batch on its way to a rule: checked, and laid out for the machine. Shapes: T time steps, N samples."""

import torch
from torch import Tensor, nn

from edgesnn.errors import TrainingError


def check(x: Tensor, y: Tensor, steps: int, classes: int, place: str) -> None:
    """TrainingError, naming the place, for x that is not `steps` finite frames [T, N, ...] or y that is not [N]
    class indexes.
    """
    if x.dim() < 3 or x.shape[0] != steps:
        raise TrainingError(
            f"{place}: expected a batch of {steps} time steps first, [T, N, ...], got {tuple(x.shape)}; "
            "put time before samples"
        )
    if y.shape != x.shape[1:2]:
        raise TrainingError(f"{place}: expected {x.shape[1]} labels, got {tuple(y.shape)}; give one a sample")
    if len(y) and not 0 <= int(y.min()) <= int(y.max()) < classes:
        raise TrainingError(
            f"{place}: expected labels of 0 to {classes - 1}, got {int(y.min())} to {int(y.max())}; correct the data"
        )
    frames = x[:1] if x.stride(0) == 0 else x  # an image that stands still is looked at once
    if not frames.isfinite().all():
        step, sample = (~frames.isfinite()).flatten(2).any(dim=2).nonzero()[0].tolist()
        raise TrainingError(
            f"{place}: the input has NaN or infinity, first in sample {sample + 1} at time step {step + 1}; "
            "correct the data"
        )


def channels_last(net: nn.Module) -> bool:
    """Whether a network is faster with channels last in memory: convolutions on a CPU are."""
    layers = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d)]
    return bool(layers) and layers[0].weight.device.type == "cpu"


def laid_out(x: Tensor) -> Tensor:
    """Frames [T, N, C, H, W] with channels last in memory; other x as it is. An image that stands still stays one."""
    if x.dim() != 5:
        return x
    frames = (x[:1] if x.stride(0) == 0 else x).contiguous()
    steps, samples, channels, height, width = frames.shape
    if channels == 1:  # the same memory, marked so that what follows has channels last too
        pixels = height * width
        frames = frames.as_strided(frames.shape, (samples * pixels, pixels, 1, width, 1))
    else:
        ordered = frames.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        frames = ordered.unflatten(0, (steps, samples))
    return frames.expand(x.shape)
