"""VGG networks (Simonyan & Zisserman, ICLR 2015): chains of 3x3 convolutions with poolings between.

`width` is the channels of the first layer, 64 in the literature; `pool` is "average", as the papers on spiking networks
have it, or "max", which keeps spikes spikes.
"""

import math
from collections.abc import Sequence

from torch import nn

from edgesnn.errors import ConfigError
from edgesnn.layers import Conv2d, Readout
from edgesnn.models.blocks import Feedback
from edgesnn.models.network import Network
from edgesnn.models.parts import Layers, Parts, checked_image, dropout_layer
from edgesnn.models.registry import constructor
from edgesnn.neurons import Neuron

POOL = "pool"
_POOLS: dict[str, type[nn.Module]] = {"average": nn.AvgPool2d, "max": nn.MaxPool2d}
#: Channels in units of `width`, and poolings.
_VGG11 = (1, POOL, 2, POOL, 4, 4, POOL, 8, 8, POOL, 8, 8, POOL)
_VGG13 = (1, 1, POOL, 2, 2, POOL, 4, 4, POOL, 8, 8, POOL, 8, 8, POOL)
_VGG_SNN = (1, 2, POOL, 4, 4, POOL, 8, 8, POOL, 8, 8, POOL)
_VGG_F = _VGG_SNN[:-1]
Plan = Sequence[int | str]


@constructor
def vgg11(
    input_shape: Sequence[int],
    classes: int,
    neuron: Neuron | None = None,
    weights: str = "binary",
    seed: int = 0,
    leak: float = 1.0,
    norm: str = "batch",
    dropout: float = 0.0,
    pool: str = "average",
    width: int = 64,
) -> Network:
    """64-P-128-P-256x2-P-512x2-P-512x2-P, mean over the pixels, readout."""
    layers = _features("vgg11", input_shape, _VGG11, Parts(neuron, weights, norm), dropout, pool, width)
    return _global(layers, input_shape, 8 * width, classes, leak)


@constructor
def vgg13(
    input_shape: Sequence[int],
    classes: int,
    neuron: Neuron | None = None,
    weights: str = "binary",
    seed: int = 0,
    leak: float = 1.0,
    norm: str = "batch",
    dropout: float = 0.0,
    pool: str = "average",
    width: int = 64,
) -> Network:
    """64x2-P-128x2-P-256x2-P-512x2-P-512x2-P, mean over the pixels, readout (EM-PF Table 2, ImageNet-200)."""
    layers = _features("vgg13", input_shape, _VGG13, Parts(neuron, weights, norm), dropout, pool, width)
    return _global(layers, input_shape, 8 * width, classes, leak)


@constructor
def vgg_snn(
    input_shape: Sequence[int],
    classes: int,
    neuron: Neuron | None = None,
    weights: str = "binary",
    seed: int = 0,
    leak: float = 1.0,
    norm: str = "batch",
    dropout: float = 0.0,
    pool: str = "average",
    width: int = 64,
) -> Network:
    """64-128-P-256x2-P-512x2-P-512x2-P, all pixels to the readout (EM-PF Table 2, DVS-CIFAR10 of 48x48)."""
    layers = _features("vgg_snn", input_shape, _VGG_SNN, Parts(neuron, weights, norm), dropout, pool, width)
    layers["flatten"] = nn.Flatten(1)
    pixels = math.prod(side // 2 ** _VGG_SNN.count(POOL) for side in input_shape[1:])
    layers["readout"] = Readout(8 * width * pixels, classes, leak)
    return Network(layers, {}, tuple(input_shape), classes)


@constructor
def vgg_f(
    input_shape: Sequence[int],
    classes: int,
    neuron: Neuron | None = None,
    weights: str = "binary",
    seed: int = 0,
    leak: float = 1.0,
    norm: str = "standardized",
    dropout: float = 0.0,
    pool: str = "average",
    width: int = 64,
) -> Network:
    """conv1, then `feedback`: VGG-SNN up to its last convolution, whose spikes come back to neuron1 a step later,
    enlarged to its pixels, through a 3x3 convolution (OTTT supplement D.2); mean over the pixels, readout.

    The weights of the feedback are real, not standardized, and start at 0.
    """
    parts = Parts(neuron, weights, norm)
    layers = _features("vgg_f", input_shape, _VGG_F, parts, dropout, pool, width)
    outside: Layers = {name: layers.pop(name) for name in ("conv1", "norm1") if name in layers}
    back = Conv2d(8 * width, width, 3, padding=1, bias=False)
    back.weight.data.zero_()
    enlarge = nn.Upsample(tuple(input_shape[1:]), mode="nearest")
    return _global(
        {**outside, "feedback": Feedback(layers, {"enlarge": enlarge, "conv1": back})},
        input_shape, 8 * width, classes, leak,
    )  # fmt: skip


def _features(
    model: str, input_shape: Sequence[int], plan: Plan, parts: Parts, dropout: float, pool: str, width: int
) -> Layers:
    """conv<i>, norm<i>, neuron<i>, dropout<i> for each number of the plan, pool<i> where it says so."""
    if pool not in _POOLS:
        raise ConfigError(f"{model}: expected pool to be one of {sorted(_POOLS)}, got {pool!r}")
    channels, *_ = checked_image(model, input_shape, smallest=2 ** plan.count(POOL))
    layers: Layers = {}
    i = 0
    for item in plan:
        if item == POOL:
            layers[f"pool{i}"] = _POOLS[pool](2)
            continue
        i += 1
        size = int(item) * width
        layers |= parts.conv_unit(i, channels, size, first=i == 1) | dropout_layer(i, dropout)
        channels = size
    return layers


def _global(layers: Layers, input_shape: Sequence[int], features: int, classes: int, leak: float) -> Network:
    """The features' mean over the pixels, then the readout."""
    head = {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(1), "readout": Readout(features, classes, leak)}
    return Network({**layers, **head}, {}, tuple(input_shape), classes)
