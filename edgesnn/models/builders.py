"""Constructors of networks. First layer and readout have real-valued weights; `weights` says what is between."""

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from edgesnn import neurons
from edgesnn.errors import ConfigError
from edgesnn.layers import BinaryConv2d, BinaryLinear, Conv2d, Linear, Readout
from edgesnn.models.network import Network

WEIGHTS = ("binary", "float")


def mlp(
    inputs: int,
    hidden: Sequence[int],
    classes: int,
    neuron: neurons.Neuron | None = None,
    weights: str = "binary",
    seed: int = 0,
    leak: float = 1.0,
) -> Network:
    """linear1, norm1, neuron1, linear2, ..., readout. `neuron` is a prototype: each layer gets its own copy."""
    neuron = _checked(neuron, weights, hidden, classes, "mlp hidden")
    config: dict[str, Any] = {
        "model": "mlp",
        "inputs": inputs,
        "hidden": list(hidden),
        "classes": classes,
        "neuron": neuron.config(),
        "weights": weights,
        "seed": seed,
        "leak": leak,
    }
    layers: dict[str, nn.Module] = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        width = inputs
        for i, size in enumerate(hidden, start=1):
            synapse = BinaryLinear if weights == "binary" and i > 1 else Linear
            layers[f"linear{i}"] = synapse(width, size, bias=False)
            layers[f"norm{i}"] = nn.BatchNorm1d(size)
            layers[f"neuron{i}"] = copy.deepcopy(neuron)
            width = size
        layers["readout"] = Readout(width, classes, leak)
    return Network(layers, config, (inputs,), classes)


def convnet(
    input_shape: Sequence[int],
    channels: Sequence[int],
    classes: int,
    neuron: neurons.Neuron | None = None,
    weights: str = "binary",
    seed: int = 0,
    leak: float = 1.0,
) -> Network:
    """conv1 (3x3, padding 1), norm1, neuron1, pool1 (2x2 maximum of spikes), conv2, ..., flatten, readout."""
    neuron = _checked(neuron, weights, channels, classes, "convnet channels")
    if len(input_shape) != 3:
        raise ConfigError(f"convnet: expected an input_shape (channels, height, width), got {tuple(input_shape)}")
    width, *image = input_shape
    if min(image) < 2 ** len(channels):
        raise ConfigError(
            f"convnet: {len(channels)} poolings need images of at least {2 ** len(channels)} pixels a side, "
            f"got {image[0]}x{image[1]}; use fewer channels"
        )
    config: dict[str, Any] = {
        "model": "convnet",
        "input_shape": list(input_shape),
        "channels": list(channels),
        "classes": classes,
        "neuron": neuron.config(),
        "weights": weights,
        "seed": seed,
        "leak": leak,
    }
    layers: dict[str, nn.Module] = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for i, size in enumerate(channels, start=1):
            synapse = BinaryConv2d if weights == "binary" and i > 1 else Conv2d
            layers[f"conv{i}"] = synapse(width, size, 3, padding=1, bias=False)
            layers[f"norm{i}"] = nn.BatchNorm2d(size)
            layers[f"neuron{i}"] = copy.deepcopy(neuron)
            layers[f"pool{i}"] = nn.MaxPool2d(2)
            width = size
            image = [side // 2 for side in image]
        layers["flatten"] = nn.Flatten(1)
        layers["readout"] = Readout(width * math.prod(image), classes, leak)
    return Network(layers, config, tuple(input_shape), classes)


def build(config: dict[str, Any]) -> Network:
    """The network that `Network.config` describes, with freshly seeded weights."""
    arguments = dict(config)
    model = arguments.pop("model", None)
    constructors: dict[Any, Callable[..., Network]] = {"mlp": mlp, "convnet": convnet}
    if model not in constructors:
        raise ConfigError(f"model: expected one of {sorted(constructors)}, got {model!r}")
    if "neuron" in arguments:
        arguments["neuron"] = neurons.build(arguments["neuron"])
    try:
        return constructors[model](**arguments)
    except TypeError as error:
        raise ConfigError(f"model '{model}': {error}; see edgesnn.models.{model}") from None


def _checked(
    neuron: neurons.Neuron | None, weights: str, sizes: Sequence[int], classes: int, name: str
) -> neurons.Neuron:
    if weights not in WEIGHTS:
        raise ConfigError(f"weights: expected one of {list(WEIGHTS)}, got {weights!r}")
    if not sizes or any(size < 1 for size in sizes):
        raise ConfigError(f"{name}: expected at least one size, all >= 1, got {list(sizes)}")
    if classes < 2:
        raise ConfigError(f"classes: expected at least 2, got {classes}")
    return neurons.EMPF() if neuron is None else neuron
