"""Small networks of every family, quantized on noise, and how their integers compare with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import edgesnn as es
from edgesnn import export
from edgesnn.data.dataset import Dataset, Images, pixel_statistics
from edgesnn.layers import Readout, leaky_integrate
from edgesnn.models import Network
from edgesnn.quant import QuantizedNetwork
from edgesnn.runtime.model import Model
from edgesnn.runtime.ort import run_streams

CLASSES, STEPS = 3, 3


def zeros(shape: tuple[int, ...]) -> torch.Tensor:
    """One frame of one sample [T, N, ...]."""
    return torch.zeros(1, 1, *shape)


def chain(shape: tuple[int, ...], layers: Callable[[], dict[str, nn.Module]]) -> Callable[[], Network]:
    """A network of these layers, the same each time; its readout is that of as many features as leave them."""

    def make() -> Network:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            made = layers()
            net = Network({**made, "readout": nn.Identity()}, {"model": "own"}, shape, CLASSES)
            features = net.eval()(zeros(shape)).shape[-1]
            readout = Readout(features, CLASSES)
        return Network({**made, "readout": readout}, {"model": "own"}, shape, CLASSES)

    return make


def conv(inputs: int, outputs: int, kernel: int = 3, **options: int | bool) -> nn.Module:
    return nn.Conv2d(inputs, outputs, kernel, **options)


def empf() -> nn.Module:
    return es.EMPF()


def branch(inputs: int, outputs: int, stride: int = 1) -> dict[str, nn.Module]:
    """conv, norm, neuron, conv, norm."""
    return {
        "conv1": conv(inputs, outputs, stride=stride, padding=1), "norm1": nn.BatchNorm2d(outputs), "neuron1": empf(),
        "conv2": conv(outputs, outputs, padding=1), "norm2": nn.BatchNorm2d(outputs),
    }  # fmt: skip


def before(channels: int) -> dict[str, nn.Module]:
    """norm, neuron, conv: the branch of a block that reads a current."""
    return {"norm1": nn.BatchNorm2d(channels), "neuron1": empf(), "conv1": conv(channels, channels, padding=1)}


def noise(shape: tuple[int, ...], count: int = 24) -> Dataset:
    """Images of smooth noise [N, *shape] over a pattern of their class."""
    rng = np.random.default_rng(5)
    labels = rng.integers(0, CLASSES, count)
    pattern = rng.normal(size=(CLASSES, *shape))
    values = (pattern[labels] + rng.normal(size=(count, *shape))).astype(np.float32)
    split = Images(values, labels)
    mean, std = pixel_statistics(split)
    names = tuple(f"c{i}" for i in range(CLASSES))
    nothing = Images(values[:0], labels[:0])
    return Dataset("noise", names, shape, mean, std, None, None, STEPS, split, nothing, split)


def settle(net: Network, data: Dataset) -> Network:
    """Statistics of norms from the data, low thresholds, and every weight that starts at zero set to something."""
    generator = torch.Generator().manual_seed(2)
    for name, parameter in net.named_parameters():
        if name.endswith("theta_raw"):  # those of channels and time steps differ
            count = parameter.numel()
            parameter.data.copy_((torch.linspace(-2.2, -1.8, count + 2)[1:-1]).reshape(parameter.shape))
        elif not parameter.detach().any():
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    for layer in net.modules():
        if isinstance(layer, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            layer.momentum = 0.5
    x, _ = next(iter(data.evaluation_batches("test")))
    with torch.no_grad():
        for _ in range(12):
            net.train()(x[:1] + 0.3 * torch.randn(x[:1].shape, generator=generator))
    return net.eval()


def quantized(
    make: Callable[[], Network], weights: int | Mapping[str, int] = 1, spikes: int | Mapping[str, int] = 4
) -> tuple[QuantizedNetwork, Dataset]:
    """A network after calibration, in evaluation mode, and the data that it saw."""
    net = make()
    data = noise(net.input_shape if len(net.input_shape) == 3 else (1, 1, *net.input_shape)[-3:])
    return es.quantize(settle(net, data), weights, spikes, data, epochs=0).eval(), data


def outputs(qnet: QuantizedNetwork, model: Model, data: Dataset) -> tuple[Any, Any]:
    """Readouts [T, N, K] in nat: of the fake-quantized network, and of the integer model."""
    x, _ = next(iter(data.evaluation_batches("test")))
    limits = np.iinfo(model.input.dtype)
    frames = np.clip(np.rint(x.numpy() / model.input.scale), limits.min, limits.max).astype(model.input.dtype)
    with torch.no_grad():
        real = leaky_integrate(qnet.readout, qnet(x)).numpy()
    return real, run_streams(model, frames.reshape(*frames.shape[:2], *model.input.shape)) / 1024


def exported(qnet: QuantizedNetwork, folder: Path, *formats: str, learn: str | None = None) -> Model:
    """The network as graphs for a window of three steps, and compiled for `formats` ("c", "tvm")."""
    model = export.onnx(qnet, folder, window=STEPS, learn=learn)
    for name in formats:
        getattr(export, name)(folder)
    return model
