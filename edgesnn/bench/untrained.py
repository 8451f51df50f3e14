"""Networks for benches of speed and size: real graphs of the sizes that are published, without a training.

Batch norms have the statistics of noise, so that no layer is silent and currents are of the size they have in use.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from edgesnn.runtime.model import Model

if TYPE_CHECKING:
    from edgesnn.models import Network

CLASSES, STEPS = 10, 4


@dataclass(frozen=True)
class Size:
    """A network of EM-PF neurons with binary hidden weights, by its name in tables."""

    name: str
    kind: str  # conv or dense
    input_shape: tuple[int, ...]
    hidden: tuple[int, ...] = ()  # empty: VGG-SNN


#: The networks of the published figures: VGG-SNN as on DVS-CIFAR10 (EM-PF, Table 2), and a wide dense net.
VGG_SNN = Size("VGG-SNN, 2x48x48", "conv", (2, 48, 48))
WIDE = Size("784-2048-2048-10", "dense", (784,), (2048, 2048))
#: Beside them, how it goes with smaller ones.
SMALLER = (
    Size("conv 64-128-256-512-512, 3x32x32", "conv", (3, 32, 32), (64, 128, 256, 512, 512)),
    Size("conv 16-32-32, 1x28x28", "conv", (1, 28, 28), (16, 32, 32)),
    Size("784-1024-1024-10", "dense", (784,), (1024, 1024)),
    Size("96-128-128-10", "dense", (96,), (128, 128)),
)


def build(size: Size) -> Network:
    """The float network, in evaluation mode."""
    import torch
    from torch import nn

    import edgesnn as es

    neuron = es.EMPF(theta=0.5)
    if size.kind == "dense":
        net = es.models.mlp(size.input_shape[0], size.hidden, CLASSES, neuron)
    elif size.hidden:
        net = es.models.convnet(size.input_shape, size.hidden, CLASSES, neuron)
    else:
        net = es.models.vgg_snn(size.input_shape, CLASSES, neuron, pool="max")
    norms = [layer for layer in net.modules() if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # the plain mean over what it sees
    x = torch.from_numpy(_noise(size))
    x = x.expand(STEPS, *x.shape)
    with torch.no_grad():
        net.train()(x)
    return net.eval()


def export(
    size: Size, net: Network, folder: Path, window: int | Literal["dynamic"] = STEPS, *, constant_input: bool = False
) -> Model:
    """Quantize to 1-bit weights and 4-bit spikes, and export step and window."""
    import edgesnn as es
    from edgesnn import export as exporter
    from edgesnn.data import Dataset
    from edgesnn.data.dataset import Images

    values = _noise(size)
    values = values.reshape(*values.shape, *((1, 1) if size.kind == "dense" else ()))
    shape = values.shape[1:]
    train = Images(values, np.arange(CLASSES))
    nothing = Images(values[:0], np.zeros(0, np.int64))
    names = tuple(f"class {i}" for i in range(CLASSES))
    data = Dataset("noise", names, shape, np.zeros(shape[0]), np.ones(shape[0]), None, None, STEPS,
                   train, nothing, nothing)  # fmt: skip
    qnet = es.quantize(net, weights=1, spikes=4, calibrate=data, epochs=0)
    return exporter.onnx(qnet, folder, window, constant_input=constant_input)


def _noise(size: Size) -> NDArray[np.float32]:
    """A sample of each class [K, ...]."""
    return np.random.default_rng(0).normal(0, 1, (CLASSES, *size.input_shape)).astype(np.float32)
