"""A feedforward spiking network as an ordered list of named layers."""

import math
from typing import Any, cast

import torch
from torch import Tensor, nn

from edgesnn.errors import ConfigError
from edgesnn.layers import Readout

State = dict[str, Tensor]


def is_neuron(name: str) -> bool:
    """Whether the layer of this name keeps a membrane: `neuron1`, `neuron2`, ...

    By name, not by class: quantization replaces modules by others with the same interface.
    """
    return name.startswith("neuron")


class Network(nn.Module):
    """`layers` in order; those named `neuron...` are called as `(current, v, t)`, all others as `(x)`.

    config: JSON from which `models.build` makes the network again (weights apart). input_shape: one sample without
    batch, e.g. (96,) or (1, 28, 28). The last layer is `readout`.
    """

    def __init__(
        self, layers: dict[str, nn.Module], config: dict[str, Any], input_shape: tuple[int, ...], classes: int
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleDict(layers)
        self.config = config
        self.input_shape = input_shape
        self.classes = classes

    @property
    def readout(self) -> Readout:
        """The last layer, or a replacement with the same interface."""
        return cast(Readout, self.layers["readout"])

    def step(self, x: Tensor, state: State, t: int) -> tuple[Tensor, State]:
        """One time step: x [N, *input_shape] (or any shape with as many values) and membranes by layer name
        ({}: all zero) -> logits [N, K] and the new membranes.
        """
        x = self._shaped(x, lead=1)
        new_state: State = {}
        for name, layer in self.layers.items():
            if is_neuron(name):
                x, v = layer(x, state.get(name), t)
                if v is not None:
                    new_state[name] = v
            else:
                x = layer(x)
        return x, new_state

    def forward(self, x: Tensor) -> Tensor:
        """x [T, N, *input_shape] -> logits [T, N, K], from zero membranes, layer by layer: every synapse sees all T
        steps at once and only the membranes are sequential.

        In evaluation mode this equals T calls of `step`. In training mode a norm sees one batch of T*N, where `step`
        has T batches of N; the learning rules train with `step`.
        """
        x = self._shaped(x, lead=2)
        steps = x.shape[0]
        for name, layer in self.layers.items():
            if is_neuron(name):
                v, spikes = None, []
                for t in range(steps):
                    s, v = layer(x[t], v, t)
                    spikes.append(s)
                x = torch.stack(spikes)
            else:
                x = layer(x.flatten(0, 1)).unflatten(0, (steps, -1))
        return x

    def _shaped(self, x: Tensor, lead: int) -> Tensor:
        if math.prod(x.shape[lead:]) != math.prod(self.input_shape):
            raise ConfigError(
                f"network input: expected samples of shape {self.input_shape}, got {tuple(x.shape[lead:])}; "
                "build the model for the data's input_shape"
            )
        return x.reshape(*x.shape[:lead], *self.input_shape)
