"""A spiking network: a chain of named layers and blocks, with the shape of its input and the number of its classes."""

import math
from collections.abc import Mapping
from typing import Any, cast

from torch import Tensor, nn

from edgesnn.errors import ConfigError
from edgesnn.layers import Readout
from edgesnn.models.blocks import Chain, State

__all__ = ["Network", "State"]


class Network(Chain):
    """config: JSON from which `models.build` makes the network again (weights apart). input_shape: one sample without
    batch, e.g. (96,) or (1, 28, 28). The last layer is `readout`, which is checked where it is asked for.
    """

    def __init__(
        self, layers: Mapping[str, nn.Module], config: dict[str, Any], input_shape: tuple[int, ...], classes: int
    ) -> None:
        super().__init__(layers)
        self.config = config
        self.input_shape = input_shape
        self.classes = classes

    @property
    def readout(self) -> Readout:
        """The last layer: a `Readout`, or a replacement with the same interface.

        Raises:
            ConfigError: the last layer is none, has another name, or another number of outputs than there are classes.
        """
        name = next(reversed([*self.layers]), None)
        if name != "readout":
            raise ConfigError(
                f"network: expected its last layer to be called 'readout', got {name!r}; end it with an "
                "edgesnn.layers.Readout of that name"
            )
        layer = self.layers["readout"]
        if not hasattr(layer, "accumulate"):
            raise ConfigError(
                f"readout: expected an edgesnn.layers.Readout, or a layer with its interface, got "
                f"{type(layer).__name__}; replace it"
            )
        outputs = getattr(layer, "out_features", self.classes)
        if outputs != self.classes:
            raise ConfigError(
                f"readout: expected {self.classes} outputs, one a class, got {outputs}; give Readout and Network the "
                "same classes"
            )
        return cast(Readout, layer)

    def step(self, x: Tensor, state: State, t: int) -> tuple[Tensor, State]:
        """One time step: x [N, *input_shape] (or any shape with as many values) and the state ({}: zero) -> logits
        [N, K] and the new state.
        """
        return super().step(self.shaped(x), state, t)

    def forward(self, x: Tensor) -> Tensor:
        """x [T, N, *input_shape] -> logits [T, N, K], from the zero state; see `Chain.forward`."""
        return super().forward(self.shaped(x, lead=2))

    def shaped(self, x: Tensor, lead: int = 1) -> Tensor:
        """x with its samples, after the `lead` leading dimensions, in the network's input shape; else ConfigError."""
        if math.prod(x.shape[lead:]) != math.prod(self.input_shape):
            raise ConfigError(
                f"network input: expected samples of shape {self.input_shape}, got {tuple(x.shape[lead:])}; "
                "build the model for the data's input_shape"
            )
        return x.reshape(*x.shape[:lead], *self.input_shape)
