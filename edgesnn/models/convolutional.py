"""Chains of convolutions for small images: the project's own, and those of TT-LBP's Table 2.

The first layer and the readout have real-valued weights; `weights` says what is between.
"""

import math
from collections.abc import Sequence

from torch import nn

from edgesnn.errors import ConfigError
from edgesnn.layers import Readout
from edgesnn.models.network import Network
from edgesnn.models.parts import Layers, Parts, checked_image, checked_sizes, dropout_layer
from edgesnn.models.registry import constructor
from edgesnn.neurons import Neuron


@constructor
def convnet(
    input_shape: Sequence[int],
    channels: Sequence[int],
    classes: int,
    neuron: Neuron | None = None,
    weights: str = "binary",
    seed: int = 0,
    leak: float = 1.0,
    norm: str = "batch",
) -> Network:
    """conv1 (3x3, padding 1), norm1, neuron1, pool1 (2x2 maximum of spikes), conv2, ..., flatten, readout."""
    sizes = checked_sizes("convnet channels", channels)
    width, *image = checked_image("convnet", input_shape)
    if min(image) < 2 ** len(sizes):
        raise ConfigError(
            f"convnet: {len(sizes)} poolings need images of at least {2 ** len(sizes)} pixels a side, "
            f"got {image[0]}x{image[1]}; use fewer channels"
        )
    parts = Parts(neuron, weights, norm)
    layers: Layers = {}
    for i, size in enumerate(sizes, start=1):
        layers |= parts.conv_unit(i, width, size, first=i == 1)
        layers[f"pool{i}"] = nn.MaxPool2d(2)
        width = size
        image = [side // 2 for side in image]
    layers["flatten"] = nn.Flatten(1)
    layers["readout"] = Readout(width * math.prod(image), classes, leak)
    return Network(layers, {}, tuple(input_shape), classes)


@constructor
def lenet1(
    input_shape: Sequence[int] = (1, 28, 28),
    classes: int = 47,
    neuron: Neuron | None = None,
    weights: str = "binary",
    seed: int = 0,
    leak: float = 1.0,
    norm: str = "none",
    dropout: float = 0.0,
) -> Network:
    """6C5-6AP2-16C5-16AP2-120C5-128FC-readout (TT-LBP Table 2, EMNIST).

    The paper doesn't give paddings: here 2 for the first convolution and 0 for the others, so that a 28x28 image goes
    through the sizes of LeNet-5: 28, 14, 10, 5, 1.
    """
    return _lenet("lenet1", input_shape, (6, 16, 120, 128), 2, classes, Parts(neuron, weights, norm), leak, dropout)


@constructor
def lenet2(
    input_shape: Sequence[int] = (2, 32, 32),
    classes: int = 11,
    neuron: Neuron | None = None,
    weights: str = "binary",
    seed: int = 0,
    leak: float = 1.0,
    norm: str = "none",
    dropout: float = 0.0,
) -> Network:
    """64C5-64AP2-128C5-128AP2-128C5-256FC-readout (TT-LBP Table 2, DvsGesture).

    The paper gives neither paddings nor the size of its frames: here no padding and 32x32, the sizes of LeNet-5.
    """
    return _lenet("lenet2", input_shape, (64, 128, 128, 256), 0, classes, Parts(neuron, weights, norm), leak, dropout)


def _lenet(
    model: str, input_shape: Sequence[int], sizes: tuple[int, int, int, int], padding: int, classes: int, parts: Parts,
    leak: float, dropout: float,
) -> Network:  # fmt: skip
    smallest = 32 - 2 * padding
    width, *image = checked_image(model, input_shape, smallest)
    layers: Layers = {}
    for i, size in enumerate(sizes[:3], start=1):
        pad = padding if i == 1 else 0
        layers |= parts.conv_unit(i, width, size, kernel=5, padding=pad, first=i == 1) | dropout_layer(i, dropout)
        image = [side + 2 * pad - 4 for side in image]
        if i < 3:
            layers |= _pool(i, size, parts)
            image = [side // 2 for side in image]
        width = size
    layers["flatten"] = nn.Flatten(1)
    layers |= parts.linear_unit(4, width * math.prod(image), sizes[3]) | dropout_layer(4, dropout)
    layers["readout"] = Readout(sizes[3], classes, leak)
    return Network(layers, {}, tuple(input_shape), classes)


@constructor
def alexnet(
    input_shape: Sequence[int] = (3, 32, 32),
    classes: int = 10,
    neuron: Neuron | None = None,
    weights: str = "binary",
    seed: int = 0,
    leak: float = 1.0,
    norm: str = "none",
    dropout: float = 0.0,
    width: int = 32,
) -> Network:
    """96C3-256C3-256AP2-384C3-384AP2-512C3-384C3-256C3-4096FC-1024FC-readout (TT-LBP Table 2, CIFAR-10).

    Padding 1 (the paper doesn't say). width: the unit of all sizes, 32 as in the paper.
    """
    inputs, *image = checked_image("alexnet", input_shape, smallest=4)
    parts = Parts(neuron, weights, norm)
    layers: Layers = {}
    for i, multiple in enumerate((3, 8, 12, 16, 12, 8), start=1):
        size = multiple * width
        layers |= parts.conv_unit(i, inputs, size, first=i == 1) | dropout_layer(i, dropout)
        if i in (2, 3):
            layers |= _pool(i, size, parts)
            image = [side // 2 for side in image]
        inputs = size
    layers["flatten"] = nn.Flatten(1)
    inputs *= math.prod(image)
    for i, multiple in enumerate((128, 32), start=7):
        layers |= parts.linear_unit(i, inputs, multiple * width) | dropout_layer(i, dropout)
        inputs = multiple * width
    layers["readout"] = Readout(inputs, classes, leak)
    return Network(layers, {}, tuple(input_shape), classes)


def _pool(index: int, channels: int, parts: Parts) -> Layers:
    """pool<index> (2x2 mean), and neurons after it: in TT-LBP every layer emits spikes, poolings too."""
    return {f"pool{index}": nn.AvgPool2d(2), f"neuron_pool{index}": parts.neurons(channels)}
